/** fastify's own spelling: `::` is a colon. */
const messages = '/v1/topics/:topic/messages'
const group = '/v1/topics/:topic/groups/:group'

export const paths = {
  publish: messages,
  receive: `${group}/messages::receive`,
  ack: `${group}/messages::ack`,
  nack: `${group}/messages::nack`,
  extend: `${group}/messages::extend`,
  dead: `${group}/messages::dead`,
  stream: `${group}/stream`,
  openapi: '/openapi.json',
} as const

export const methods: Readonly<Record<keyof typeof paths, 'GET' | 'POST'>> = {
  publish: 'POST',
  receive: 'POST',
  ack: 'POST',
  nack: 'POST',
  extend: 'POST',
  dead: 'POST',
  stream: 'GET',
  openapi: 'GET',
}

/** Several messages in one request. */
export const LISTED = 'application/vnd.sluice.messages+json'

const patterns = (Object.keys(paths) as (keyof typeof paths)[]).map((name) => ({
  method: methods[name],
  pattern: new RegExp(`^${paths[name].replaceAll('::', '\n').replaceAll(/:\w+/g, '[^/:]+').replaceAll('\n', ':')}$`),
}))

/** The method that this address has; undefined: there is no such address. */
export const methodAt = (path: string): 'GET' | 'POST' | undefined =>
  patterns.find(({ pattern }) => pattern.test(path))?.method

import { readFileSync } from 'node:fs'
import { call, type Target } from '../api.ts'
import { CommandError, exit } from '../exit.ts'

export interface PubFlags {
  readonly tag?: string
  readonly key: readonly string[]
  readonly property: readonly string[]
  readonly json?: boolean
  readonly quiet?: boolean
}

/** Publishes one message; `-` as body reads it from standard input. */
export const pub = async ({ url }: Target, topic: string, body: string, flags: PubFlags): Promise<void> => {
  const headers = new Headers({ 'content-type': 'text/plain; charset=utf-8' })
  if (flags.tag !== undefined) headers.set('x-mq-tag', encodeURIComponent(flags.tag))
  if (flags.key.length > 0) headers.set('x-mq-key', flags.key.map(encodeURIComponent).join(' '))
  for (const pair of flags.property) {
    const equals = pair.indexOf('=')
    if (equals < 1) throw new CommandError(exit.usage, `--property takes name=value, not ${pair}`)
    headers.set(`x-mq-property-${pair.slice(0, equals)}`, encodeURIComponent(pair.slice(equals + 1)))
  }
  const stored = await call(`${url}/v1/topics/${encodeURIComponent(topic)}/messages`, {
    method: 'POST',
    headers,
    body: body === '-' ? readFileSync(0) : body,
    timeoutMs: 10_000,
  })
  if (flags.json) process.stdout.write(`${JSON.stringify(stored)}\n`)
  else if (!flags.quiet) process.stdout.write(`${(stored as { messageId: string }).messageId}\n`)
}

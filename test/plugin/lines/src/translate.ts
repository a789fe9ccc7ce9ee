import {
  type CommandOf,
  conversions,
  type Delivered,
  Fault,
  type Field,
  type Message,
  type Outcome,
  type Source,
} from '@sluice/core'
import type { Line } from './codec.ts'

/** @throws Fault 'invalid' */
export const toPublish = ([, , topic = '', ...body]: Line): CommandOf<'publish'> => {
  if (topic === '') throw new Fault('invalid', 'PUB id topic body')
  const message = { topic, body: unescaped(body.join(' ')), properties: {}, via: 'lines' }
  return { kind: 'publish', messages: [message], oneway: false }
}

/** @throws Fault 'invalid' */
export const toSource = ([, , topic = '', group = '', credit = '1']: Line): { source: Source; credit: number } => {
  if (topic === '' || group === '' || !/^[1-9]\d{0,3}$/.test(credit))
    throw new Fault('invalid', 'SUB id topic group credit, credit from 1 to 9999')
  return { source: { kind: 'group', topic, group }, credit: Number(credit) }
}

export const outcomes: Readonly<Record<string, Outcome>> = {
  ACK: { kind: 'accept' },
  RETRY: { kind: 'retry', counts: true },
  DEAD: { kind: 'dead' },
}

export const fromDelivered = (number: string, { message, attempt }: Delivered): Line => [
  'MSG',
  number,
  String(attempt),
  escaped(message.body),
]

/** A line has room for the body. */
export const lost = (message: Message): readonly Field[] => {
  const said = new Set<Field>(['topic', 'body', 'id', 'bornAt', 'bornHost', 'properties'])
  const fields = (Object.keys(conversions) as Field[]).filter(
    (field) => !said.has(field) && message[field] !== undefined,
  )
  return Object.keys(message.properties).length > 0 ? [...fields, 'properties'] : fields
}

const escaped = (body: Buffer): string =>
  body
    .toString('latin1')
    .replace(/[^ -$&-~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)

const unescaped = (text: string): Buffer => {
  if (/%(?![\dA-Fa-f]{2})/.test(text)) throw new Fault('invalid', '% needs two hex digits')
  return Buffer.from(
    text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
}

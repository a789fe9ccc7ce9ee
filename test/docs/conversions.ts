import { type Column, conversions, type Field, names } from '@sluice/core'

const columns: Readonly<Record<Column, string>> = {
  remoting: 'Remoting',
  grpc: 'gRPC',
  http: 'HTTP',
  mqtt5: 'MQTT 5',
  mqtt3: 'MQTT 3.1.1',
  amqp: 'AMQP 1.0',
}

const meanings: Readonly<Record<Field, string>> = {
  topic: 'where it is published; the broker’s topic',
  path: 'levels below the topic',
  body: 'the payload, as the producer sent it',
  id: 'the producer’s id; the gateway gives one where there is none',
  tag: 'one word to filter by',
  keys: 'what a message can be looked up by',
  properties: 'free names and values of the producer',
  contentType: 'media type of the body',
  correlationId: 'ties an answer to its question',
  replyTo: 'where an answer is wanted',
  group: 'messages of one group keep their order',
  priority: '0 is the lowest',
  deliverAt: 'not before this moment',
  expiresAt: 'not after this moment',
  encoding: 'compression of the body',
  retain: 'the last one of its topic is kept for newcomers',
  bornAt: 'when it was published',
  bornHost: 'from which address',
  traceparent: 'W3C trace context',
  original: 'what only the producer’s own protocol can say',
}

const values: Readonly<Record<keyof typeof names, string>> = {
  path: 'the whole MQTT topic, `topic/path`',
  id: 'text',
  tag: 'text',
  keys: 'keys, joined by a blank',
  contentType: 'text',
  correlationId: 'text',
  replyTo: '`topic/path`, or `%INBOX%name`',
  group: 'text',
  priority: 'decimal, 0 lowest',
  deliverAt: 'milliseconds since 1970, decimal',
  expiresAt: 'milliseconds since 1970, decimal',
  retain: '`true`',
  bornAt: 'milliseconds since 1970, decimal',
  bornHost: '`host:port`',
  traceparent: 'as W3C Trace Context writes it',
  original: 'only in stored records: protocol, `:`, base64',
  via: 'only in stored records: the protocol it was published by',
  more: 'only in stored records: what RocketMQ’s property text cannot say, base64 of JSON',
  property: 'HTTP only: prefix of one header a user property, its value percent-encoded',
}

const entries = <Name extends string, Value>(record: Readonly<Record<Name, Value>>) =>
  Object.entries(record) as [Name, Value][]

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const saying = (): string =>
  table(
    ['field', 'what it is', ...Object.values(columns)],
    entries(conversions).map(([field, ways]) => [
      `\`${field}\``,
      meanings[field],
      ...entries(columns).map(([column]) => ways[column].as),
    ]),
  )

const losing = (): string => {
  const byReason = new Map<string, string[]>()
  for (const [column, title] of entries(columns)) {
    for (const [field, ways] of entries(conversions)) {
      const { lost } = ways[column]
      if (lost === undefined) continue
      const key = `${title}|${lost}`
      byReason.set(key, [...(byReason.get(key) ?? []), `\`${field}\``])
    }
  }
  return table(
    ['to', 'never arrives', 'why'],
    [...byReason].map(([key, fields]) => {
      const [title, why] = key.split('|') as [string, string]
      return [title, fields.join(', '), why]
    }),
  )
}

const naming = (): string =>
  table(
    ['field', 'name', 'value'],
    entries(names).map(([field, name]) => [
      `\`${field}\``,
      `\`${name}${field === 'property' ? '*' : ''}\``,
      values[field],
    ]),
  )

/** docs/conversions.md, from the table that the protocols themselves use. */
export const conversionsPage = (): string => `# Conversions

<!-- Printed by \`npm run docs\` from packages/core/src/conversions.ts: change that table, not this page. -->

A message published on one protocol may be consumed on any other. This page says how each field is said on each wire,
and what cannot be said.

## How each field is said

"property \`x\`" means: among the free-form properties of that wire (RocketMQ properties, gRPC user properties, MQTT 5
user properties, AMQP application properties), under that name, in both directions.

${saying()}

## What never arrives

Each field that a message has and a receiver's wire cannot say is counted in \`sluice_conversion_loss_total\`, by the
protocol it was published by, the wire it left on, and the field.

${losing()}

- A message that goes home is whole: what only its own protocol understands (\`original\`: AMQP types, repeated MQTT user
  properties) comes back when it is consumed on the protocol it was published by, and is lost on every other.
- Ids and birth are given by the gateway where a producer's wire has none. An MQTT message delivered to MQTT 3.1.1 has
  not lost them.
- What is absent or empty (no properties, no keys, \`retain\` false) is not lost. Nor is an \`original\` of one byte: the
  QoS that an MQTT publisher chose.

## Names

Fields that a wire has no place of its own for travel under these names. A producer may use them to set the field; a
consumer finds them where its wire says nothing else.

${naming()}

Rules for a producer's free-form properties:

- A property with one of these names sets the field and is not a user property any more.
- A number that is none (\`x-mq-priority: high\`, more than 15 digits), \`x-mq-retain\` other than \`true\`, and a
  \`mqtt.topic\` that is not the topic or below it stay what they are: user properties.
- \`x-mq-via\`, \`x-mq-more\` and \`x-mq-original\` belong to stored records. From a producer they are dropped.
- HTTP uses header names for the same fields; \`x-mq-property-*\` headers become user properties under the rest of
  their name.
- Every other property passes unchanged, whatever its name or value.
`

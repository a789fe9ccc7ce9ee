import {
  type CommandOf,
  type Delivered,
  Fault,
  type Kind,
  type Message,
  type Receipt,
  type Replies,
  type Stored,
} from '@sluice/core'
import { encodeRecord, noHost, propertyText, viewRecord } from '@sluice/remoting'
import fc from 'fast-check'

export const NODE = 'n0'

/** Any text, valid Unicode or not. */
const text = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'binary', maxLength: 4 }), fc.constant('\ud800'))
const name = fc.string({ minLength: 1, maxLength: 8 })
const count = fc.nat({ max: 1000 })
const offset = fc.oneof(
  count,
  fc.maxSafeNat().map((value) => Math.min(value, Number.MAX_SAFE_INTEGER - 1)),
)
const time = fc.oneof(fc.integer(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }))
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 16 }).map((array) => Buffer.from(array)),
  fc.constantFrom(4_095, 4_096, 9_000).map((length) => Buffer.alloc(length, 'x')),
)
const attributes = fc.dictionary(fc.oneof(text, fc.constant('__proto__')), text, { maxKeys: 3 })
const some = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 3 })

const optional = <T, K extends keyof T>(model: { [P in keyof T]: fc.Arbitrary<T[P]> }, requiredKeys: K[]) =>
  fc.record(model, { requiredKeys })

const plain = optional(
  {
    topic: name,
    body: bytes,
    properties: attributes,
    id: text,
    path: text,
    tag: text,
    keys: some(text),
    group: text,
    priority: time,
    deliverAt: time,
    expiresAt: time,
    half: optional({ checkAfter: time }, []),
    encoding: fc.constantFrom('zlib', 'lz4', 'zstd', 'gzip'),
    contentType: text,
    correlationId: text,
    replyTo: text,
    retain: fc.boolean(),
    bornAt: time,
    bornHost: text,
    traceparent: text,
    via: text,
    original: fc.record({ protocol: name, bytes }),
  },
  ['topic', 'body', 'properties'],
) as fc.Arbitrary<Message>

/** With a property string, as a RocketMQ client sends it. */
const packed = optional(
  {
    topic: name,
    body: bytes,
    packed: plain.map((message) => Buffer.from(propertyText(message))),
    encoding: fc.constantFrom('zlib', 'lz4', 'zstd'),
    bornAt: time,
    bornHost: text,
    original: fc.record({ protocol: fc.constant('remoting'), bytes: fc.constant(Buffer.alloc(4, 1)) }),
  },
  ['topic', 'body', 'packed'],
).map((message): Message => ({ properties: {}, ...message }) as Message)

export const message = fc.oneof(plain, packed)

const queue = fc.record({
  topic: name,
  node: fc.constantFrom(NODE, '', 'other'),
  index: fc.integer({ min: -1, max: 9 }),
})
const filter = fc.record({ kind: fc.constantFrom('tag' as const, 'sql92' as const), expression: text })
const few = fc.constantFrom('a', 'b')
const lease = fc.record({
  of: fc.constant('group' as const),
  node: fc.constantFrom(NODE, ''),
  topic: few,
  group: few,
  queue: fc.integer({ min: -1, max: 9 }),
  offset,
  place: fc.oneof(offset, time),
  first: offset,
  poppedAt: offset,
  invisible: count,
  revive: count,
  retry: fc.constantFrom(0 as const, 1 as const, 2 as const),
  attempt: count,
})
const slot = fc.record({
  of: fc.constant('inbox' as const),
  node: fc.constantFrom(NODE, ''),
  inbox: few,
  epoch: offset,
  way: fc.constantFrom('in' as const, 'out' as const),
  slot: count,
})
export const receipt: fc.Arbitrary<Receipt> = fc.oneof(lease, slot)
const half = fc.record({ node: fc.constant(NODE), topic: name, group: text, id: text, place: offset, offset })

const source = fc.oneof(
  optional({ kind: fc.constant('group' as const), topic: name, group: text, filter, queue }, [
    'kind',
    'topic',
    'group',
  ]),
  fc.record({ kind: fc.constant('inbox' as const), inbox: text, epoch: offset }),
  fc.record({ kind: fc.constant('halves' as const), topic: name, group: text }),
)
const once = fc.oneof(slot, fc.record({ key: text, keep: count }))
const outcome = fc.oneof(
  fc.constant({ kind: 'accept' as const }),
  fc.constant({ kind: 'received' as const }),
  optional({ kind: fc.constant('retry' as const), after: count, counts: fc.boolean(), limit: count }, [
    'kind',
    'counts',
  ]),
  optional({ kind: fc.constant('dead' as const), reason: text }, ['kind']),
)
const binding = optional(
  { pattern: text, share: text, filter, noLocal: fc.boolean(), retained: fc.constantFrom('send', 'skip'), note: text },
  ['pattern', 'retained'],
)

export const command = fc.oneof(
  optional(
    {
      kind: fc.constant('publish'),
      messages: some(message),
      group: text,
      oneway: fc.boolean(),
      into: fc.oneof(queue, fc.record({ inbox: text })),
      once,
      accepts: some(receipt),
    },
    ['kind', 'messages', 'oneway'],
  ),
  optional(
    {
      kind: fc.constant('pop'),
      source,
      max: count,
      invisible: fc.oneof(count, fc.constant('session')),
      wait: time,
      fifo: fc.boolean(),
      attemptId: text,
    },
    ['kind', 'source', 'max', 'invisible', 'wait', 'fifo'],
  ),
  fc.record({ kind: fc.constant('settle'), receipts: some(receipt), outcome }),
  optional(
    {
      kind: fc.constant('read'),
      from: fc.oneof(
        optional({ by: fc.constant('offset'), queue, offset: time, group: text }, ['by', 'queue', 'offset']),
        fc.record({ by: fc.constant('source'), source }),
        fc.record({ by: fc.constant('place'), node: text, place: offset }),
      ),
      max: count,
      bytes: count,
      wait: count,
      filter,
      commit: count,
    },
    ['kind', 'from', 'max', 'bytes', 'wait'],
  ),
  fc.record({ kind: fc.constant('endTransaction'), half, resolution: fc.constant('commit'), byCheck: fc.boolean() }),
  optional(
    {
      kind: fc.constant('open'),
      inbox: text,
      fresh: fc.boolean(),
      expiry: count,
      will: fc.record({ message, after: count }),
    },
    ['kind', 'inbox', 'fresh', 'expiry'],
  ),
  fc.record({
    kind: fc.constant('bind'),
    inbox: text,
    epoch: offset,
    add: some(binding),
    remove: fc.oneof(fc.constant('others'), some(fc.record({ pattern: text }))),
  }),
  fc.record({
    kind: fc.constant('admin'),
    action: fc.record({
      do: fc.constant('putTopics'),
      topics: some(fc.record({ topic: text, queues: count, type: fc.constant('mixed'), attributes })),
    }),
  }),
) as fc.Arbitrary<CommandOf<Kind>>

export const fault = fc
  .tuple(
    fc.constantFrom('busy' as const, 'internal' as const, 'outcomeUnknown' as const),
    text,
    optional({ about: text, node: text, retryAfter: count }, []),
  )
  .map(([code, words, more]) => new Fault(code, words, more))

const stored = fc.oneof(
  fault,
  optional({ id: text, queue, offset, place: offset, half, recallHandle: text, durable: fc.constant('noReplica') }, [
    'id',
    'queue',
    'offset',
    'place',
  ]) as fc.Arbitrary<Stored>,
)

const record = fc.tuple(bytes, fc.nat({ max: 3 }), fc.nat({ max: 5 })).map(([body, at, place]) =>
  viewRecord(
    encodeRecord({ topic: 'T', body, properties: {}, bornAt: 7 }, noHost, {
      queue: at,
      offset: at,
      place,
      storedAt: 9,
    }),
    NODE,
  ),
)
const delivered = optional(
  {
    message: record,
    attempt: count,
    receipt,
    half,
    received: fc.constant(true as const),
    retained: fc.constant(true as const),
    notes: some(text),
  },
  ['message', 'attempt'],
) as fc.Arbitrary<Delivered>
const items = fc.array(delivered, { maxLength: 4 })
const batchOf = (all: readonly Delivered[]) => ({
  count: all.length,
  bytes: all.map(({ message: one }) => one.record!),
  [Symbol.iterator]: () => all[Symbol.iterator](),
})

export interface KindReply {
  readonly kind: Kind
  readonly reply: Replies[Kind]
}

export const reply = fc.oneof(
  fc.record({ kind: fc.constant('publish'), reply: fc.record({ stored: some(stored) }) }),
  fc.record({
    kind: fc.constant('pop'),
    reply: fc.record({ batch: items.map(batchOf), more: fc.boolean() }),
  }),
  fc.record({
    kind: fc.constant('read'),
    reply: fc.record({ batch: items.map(batchOf), next: offset, min: offset, max: offset }),
  }),
  fc.record({
    kind: fc.constant('settle'),
    reply: optional(
      {
        renewed: some(fc.option(receipt, { nil: undefined })),
        failed: some(fc.record({ at: count, fault })),
      },
      ['failed'],
    ),
  }),
  fc.record({ kind: fc.constant('leave'), reply: fc.constant({}) }),
  fc.record({ kind: fc.constant('admin'), reply: fc.record({ answer: fc.jsonValue({ maxDepth: 2 }) }) }),
) as fc.Arbitrary<KindReply>

import fc from 'fast-check'
import type { Frame } from '../src/codec.ts'
import { writeComposite } from '../src/performatives.ts'
import { type Composite, type CompositeName, type FieldKind, shapes } from '../src/shapes.ts'
import type { ArrayValue, TypeName, Value } from '../src/types/values.ts'
import { Writer } from '../src/types/writer.ts'

/** Values of every AMQP type, small, for property tests. */

const ascii = fc.string({ unit: fc.constantFrom(...'abcxyz:-_.09 '), maxLength: 12 })
const int = (min: number, max: number) => fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max, 0, 1))
const wide = (min: bigint, max: bigint) =>
  fc
    .oneof(fc.bigInt({ min, max }), fc.constantFrom(min, max, 0n, 255n, 256n, 2n ** 53n, 2n ** 53n - 1n))
    .map((value) => (value >= -(2n ** 53n) + 1n && value < 2n ** 53n ? Number(value) : value))
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((a) => Buffer.from(a))
const noNaN = { noNaN: true, noDefaultInfinity: false }

const simple: Record<Exclude<TypeName, 'list' | 'map' | 'array'>, fc.Arbitrary<Value>> = {
  null: fc.constant(null),
  boolean: fc.boolean(),
  string: fc.string({ unit: 'grapheme', maxLength: 8 }),
  binary: fc.uint8Array({ maxLength: 12 }).map((a) => Buffer.from(a)),
  symbol: ascii.map((value) => ({ type: 'symbol', value })),
  ubyte: int(0, 255).map((value) => ({ type: 'ubyte', value })),
  ushort: int(0, 65535).map((value) => ({ type: 'ushort', value })),
  uint: int(0, 0xffffffff).map((value) => ({ type: 'uint', value })),
  byte: int(-128, 127).map((value) => ({ type: 'byte', value })),
  short: int(-32768, 32767).map((value) => ({ type: 'short', value })),
  int: int(-(2 ** 31), 2 ** 31 - 1).map((value) => ({ type: 'int', value })),
  ulong: wide(0n, 2n ** 64n - 1n).map((value) => ({ type: 'ulong', value })),
  long: wide(-(2n ** 63n), 2n ** 63n - 1n).map((value) => ({ type: 'long', value })),
  timestamp: wide(-(2n ** 63n), 2n ** 63n - 1n).map((value) => ({ type: 'timestamp', value })),
  float: fc.float(noNaN).map((value) => ({ type: 'float', value })),
  double: fc.double(noNaN).map((value) => ({ type: 'double', value })),
  char: fc.oneof(int(0, 0xd7ff), int(0xe000, 0x10ffff)).map((value) => ({ type: 'char', value })),
  uuid: bytes(16).map((value) => ({ type: 'uuid', value })),
  decimal32: bytes(4).map((value) => ({ type: 'decimal32', value })),
  decimal64: bytes(8).map((value) => ({ type: 'decimal64', value })),
  decimal128: bytes(16).map((value) => ({ type: 'decimal128', value })),
}

export const simpleValues: fc.Arbitrary<Value> = fc.oneof(...Object.values(simple))

const arrays: fc.Arbitrary<ArrayValue> = fc
  .constantFrom(...(Object.keys(simple) as (keyof typeof simple)[]))
  .chain((of) =>
    fc
      .tuple(fc.array(simple[of], { maxLength: 4 }), fc.option(ascii, { nil: undefined, freq: 4 }))
      .map(([value, name]) => ({
        type: 'array',
        of,
        ...(name !== undefined && { descriptor: { type: 'symbol', value: name } as const }),
        value,
      })),
  )

/** Nested at most three deep, at most a few elements wide. */
export const values: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    simpleValues,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((value) => ({ type: 'map', value }) as const),
    fc
      .tuple(fc.oneof(simple.symbol, simple.ulong), tie('value'))
      .map(([descriptor, value]) => ({ type: 'described', descriptor, value }) as const),
    arrays,
    fc.array(arrays, { maxLength: 2 }).map((value) => ({ type: 'array', of: 'array', value }) as const),
    fc
      .array(fc.array(simpleValues, { maxLength: 2 }), { maxLength: 2 })
      .map((value) => ({ type: 'array', of: 'list', value }) as const),
  ),
})).value

// ── Frames ────────────────────────────────────────────────────────────────────────────────────────

const uint = int(0, 0xffffffff)
const text = fc.string({ unit: 'grapheme', maxLength: 10 })
const binary = fc.uint8Array({ maxLength: 12 }).map((a) => Buffer.from(a))
const symbolic = fc
  .array(
    fc.tuple(
      ascii.map((value) => ({ type: 'symbol', value }) as const),
      simpleValues,
    ),
    { maxLength: 2 },
  )
  .map((value) => ({ type: 'map', value }) as const)

const error: fc.Arbitrary<Composite> = fc.record({
  type: fc.constant('error' as const),
  condition: ascii,
  description: fc.option(text, { nil: undefined }),
})

const fieldKinds: { readonly [K in Exclude<FieldKind, 'composite'>]: fc.Arbitrary<unknown> } = {
  string: text,
  symbol: ascii,
  symbols: fc.array(ascii, { maxLength: 2 }),
  boolean: fc.boolean(),
  ubyte: int(0, 255),
  ushort: int(0, 65535),
  uint,
  ulong: wide(0n, 2n ** 64n - 1n),
  timestamp: wide(-(2n ** 63n), 2n ** 63n - 1n),
  binary,
  map: symbolic,
  any: simpleValues.filter((value) => value !== null),
}

/** By field name: only some composites may stand there. */
const nested: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  error,
  source: fc.constant(0).chain(() => compositeOf('source')),
  target: fc.constant(0).chain(() => fc.oneof(compositeOf('target'), compositeOf('coordinator'))),
  state: fc.constant(0).chain(() => outcomes),
  outcome: fc.constant(0).chain(() => outcomes),
  defaultOutcome: fc.constant(0).chain(() => outcomes),
}

/** Any composite of this name, with any of its optional fields. */
export const compositeOf = (name: CompositeName): fc.Arbitrary<Composite> => {
  const fields = shapes[name][1] as Readonly<Record<string, string>>
  const arbitraries = Object.entries(fields).map(([field, said]) => {
    const kind = said.replace('!', '') as FieldKind
    const value = kind === 'composite' ? nested[field]! : fieldKinds[kind]
    return [field, said.endsWith('!') ? value : fc.option(value, { nil: undefined })] as const
  })
  return fc.record({ type: fc.constant(name), ...Object.fromEntries(arbitraries) }) as fc.Arbitrary<Composite>
}

const outcomes = fc
  .constantFrom('received', 'accepted', 'rejected', 'released', 'modified')
  .chain((name) => compositeOf(name as CompositeName))

/** Frames of an open connection, but for `open` itself. */
export const frames: fc.Arbitrary<Frame> = fc
  .constantFrom('begin', 'attach', 'flow', 'transfer', 'disposition', 'detach', 'end', 'close', 'heartbeat')
  .chain((name) => {
    const channel = int(0, 65535)
    if (name === 'heartbeat') return channel.map((number) => ({ kind: 'amqp' as const, channel: number }))
    const body = compositeOf(name as CompositeName)
    if (name !== 'transfer') return fc.record({ kind: fc.constant('amqp' as const), channel, body })
    return fc.record({ kind: fc.constant('amqp' as const), channel, body, payload: binary })
  }) as fc.Arbitrary<Frame>

/** Frames of the SASL layer. */
export const saslFrames: fc.Arbitrary<Frame> = fc
  .constantFrom('saslMechanisms', 'saslInit', 'saslChallenge', 'saslResponse', 'saslOutcome')
  .chain((name) => fc.record({ kind: fc.constant('sasl' as const), body: compositeOf(name as CompositeName) }))
  .map((frame) => frame as Frame)

// ── Messages ──────────────────────────────────────────────────────────────────────────────────────

const written = (write: (writer: Writer) => void): Buffer => {
  const writer = new Writer(64)
  write(writer)
  return writer.copy()
}
const section = (code: number, value: Value): Buffer =>
  written((writer) => {
    writer.u8(0)
    writer.u8(0x53)
    writer.u8(code)
    writer.value(value)
  })
const sectionOf = (code: number, value: fc.Arbitrary<Value>) => value.map((one) => section(code, one))
const none = fc.constant(Buffer.alloc(0))

const ids = fc.oneof(text, simple.ulong, simple.uuid, simple.binary)
const propertiesSection = fc
  .record(
    {
      messageId: ids,
      userId: binary,
      to: text,
      subject: text,
      replyTo: text,
      correlationId: ids,
      contentType: ascii,
      contentEncoding: fc.constantFrom('gzip', 'identity'),
      absoluteExpiryTime: fieldKinds.timestamp as fc.Arbitrary<number>,
      creationTime: fieldKinds.timestamp as fc.Arbitrary<number>,
      groupId: text,
      groupSequence: uint,
      replyToGroupId: text,
    },
    { requiredKeys: [] },
  )
  .map((fields) => written((writer) => writeComposite(writer, { type: 'properties', ...fields } as Composite)))

const applicationSection = sectionOf(
  0x74,
  fc
    .array(
      fc.tuple(fc.oneof(text, fc.constantFrom('x-mq-tag', 'x-mq-key', '__proto__', 'traceparent')), simpleValues),
      {
        maxLength: 3,
      },
    )
    .map((value) => ({ type: 'map', value }) as const),
)
const annotationsSection = sectionOf(0x72, symbolic)
const body = fc.oneof(
  none,
  binary.map((bytes) => section(0x75, bytes)),
  fc.array(binary, { minLength: 2, maxLength: 3 }).map((all) => Buffer.concat(all.map((one) => section(0x75, one)))),
  sectionOf(0x77, values),
  sectionOf(0x77, text),
  fc
    .array(fc.array(simpleValues, { maxLength: 2 }), { minLength: 1, maxLength: 2 })
    .map((lists) => Buffer.concat(lists.map((list) => section(0x76, list)))),
)

/** What an intermediary keeps: annotations, bare message, footer. Before it stand sections that end with each hop. */
export const messages: fc.Arbitrary<{ readonly hop: Buffer; readonly kept: Buffer }> = fc
  .tuple(
    fc.oneof(
      none,
      compositeOf('header').map((header) => written((writer) => writeComposite(writer, header))),
    ),
    fc.oneof(none, sectionOf(0x71, symbolic)),
    fc.oneof(none, annotationsSection),
    fc.oneof(none, propertiesSection),
    fc.oneof(none, applicationSection),
    body,
    fc.oneof(none, none, sectionOf(0x78, symbolic)),
  )
  .map(([header, hop, ...kept]) => ({ hop: Buffer.concat([header, hop]), kept: Buffer.concat(kept) }))

import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { descriptor } from '../descriptor.ts'
import { read } from './read.ts'
import { type Description, type Field, type MessageType, Schema } from './schema.ts'
import { write } from './write.ts'

const numRuns = Math.ceil(Number(process.env.SLUICE_RUNS ?? 10_000) / 20)
const schema = new Schema(descriptor as Description)
const services = ['apache.rocketmq.v2.MessagingService', 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection']
/** Another implementation of the same. */
const other = fromJSON(descriptor as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  enums: String,
  arrays: true,
  objects: true,
})
const methods = services.flatMap((service) =>
  schema.service(service).map((method) => ({ ...method, theirs: (other[service] as ServiceDefinition)[method.name]! })),
)

const text = fc
  .oneof(fc.string({ maxLength: 8 }), fc.string({ unit: 'binary', maxLength: 4 }))
  .map((one) => one.toWellFormed())
const anyOf = (field: Field, depth: number): fc.Arbitrary<unknown> => {
  switch (field.kind) {
    case 'string':
      return text
    case 'bytes':
      return fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
    case 'int32':
      return fc.oneof(fc.integer(), fc.constantFrom(0, -1, 127, 128, 2 ** 31 - 1, -(2 ** 31)))
    case 'int64':
      return fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1, 2 ** 32, 2 ** 49, 2 ** 49 - 1, 2 ** 53 - 1))
    case 'bool':
      return fc.boolean()
    case 'float':
      return fc.float({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0)
    case 'enum':
      return fc.constantFrom(...field.values!.numbers.keys())
    default:
      return messageOf(field.type!, depth - 1)
  }
}
const fieldOf = (field: Field, depth: number): fc.Arbitrary<unknown> => {
  if (field.kind === 'map')
    return fc.dictionary(text, anyOf(field.type!.byId[2]!, depth), { maxKeys: 3, noNullPrototype: true })
  return field.repeated ? fc.array(anyOf(field, depth), { maxLength: 3 }) : anyOf(field, depth)
}
const messageOf = (type: MessageType, depth: number): fc.Arbitrary<object> => {
  if (depth < 0) return fc.constant({})
  const fields = Object.fromEntries(type.fields.map((field) => [field.name, fieldOf(field, depth)]))
  return fc.record(fields, { requiredKeys: [], noNullPrototype: true })
}

describe('protobuf', () => {
  it.each(methods)(
    '$name: the same bytes and the same messages as another implementation',
    ({ request, response, theirs }) => {
      for (const [type, encode, decode] of [
        [request, theirs.requestSerialize, theirs.requestDeserialize],
        [response, theirs.responseSerialize, theirs.responseDeserialize],
      ] as const) {
        fc.assert(
          fc.property(messageOf(type, 4), (message) => {
            const bytes = encode(message)
            expect(Buffer.from(write(type, message)).toString('hex')).toBe(bytes.toString('hex'))
            expect(read(type, bytes)).toEqual(decode(bytes))
          }),
          { numRuns },
        )
      }
    },
  )

  it('of garbage gives a message or an Error, and what is damaged as well', () => {
    const types = methods.flatMap(({ request }) => request)
    const some = fc.constantFrom(...types)
    const survives = (type: MessageType, bytes: Uint8Array) => {
      try {
        read(type, Buffer.from(bytes))
      } catch (error) {
        expect((error as Error).message).toContain('no protobuf')
      }
    }
    fc.assert(fc.property(some, fc.uint8Array({ maxLength: 60 }), survives), { numRuns: 20 * numRuns })
    const send = types.find(({ name }) => name.endsWith('SendMessageRequest'))!
    const damage = fc.tuple(messageOf(send, 4), fc.nat(), fc.nat(255))
    fc.assert(
      fc.property(damage, ([message, place, byte]) => {
        const bytes = Buffer.from(write(send, message))
        if (bytes.length > 0) bytes[place % bytes.length] = byte
        survives(send, bytes)
      }),
      { numRuns: 5 * numRuns },
    )
  })

  const status = schema.message('apache.rocketmq.v2.Status')
  const properties = schema.message('apache.rocketmq.v2.SystemProperties')
  const queue = schema.message('apache.rocketmq.v2.MessageQueue')
  const hex = (bytes: string) => Buffer.from(bytes, 'hex')

  it('passes over what is not known, and what is not of its type', () => {
    expect(
      read(
        status,
        hex('08a09c01' + 'f80105' + 'f90100000000000000ff' + 'fa0102abcd' + 'fd01aabbccdd' + '0a0131' + '12026f6b'),
      ),
    ).toEqual({
      code: 'OK',
      message: 'ok',
    })
  })

  it('takes the last of what comes twice, numbers of a list one by one, and enums that are newer', () => {
    expect(read(status, hex('120161' + '120162'))).toEqual({ message: 'b' })
    expect(read(queue, hex('2a0201022801' + '28e807'))).toMatchObject({
      accept_message_types: ['NORMAL', 'FIFO', 'NORMAL', 1000],
    })
  })

  it('says numbers beyond 2^53 as text', () => {
    const number = (varint: string) => (read(properties, hex(`70${varint}`)) as { queue_offset: unknown }).queue_offset
    expect(number('ffffffffffffff0f')).toBe(2 ** 53 - 1)
    expect(number('8080808080808010')).toBe('9007199254740992')
    expect(number('ffffffffffffffff7f')).toBe('9223372036854775807')
    expect(number('ffffffffffffffffff01')).toBe(-1)
  })

  it('keeps every key of a map', () => {
    const message = schema.message('apache.rocketmq.v2.Message')
    const user_properties = JSON.parse('{"__proto__": "a", "constructor": "b", "": "c"}') as object
    const again = read(message, Buffer.from(write(message, { user_properties }))) as { user_properties: object }
    expect(Object.entries(again.user_properties)).toEqual(Object.entries(user_properties))
  })

  it('writes nothing that is not of its type', () => {
    expect(() => write(status, { code: 1.5 })).toThrow('code is no whole number')
    expect(() => write(status, { code: 'NO_SUCH' })).toThrow('code is no whole number')
    expect(() => write(status, { message: 7 })).toThrow('message is no text')
    const large = { message: 'x'.repeat(300_000) }
    expect(read(status, Buffer.from(write(status, large)))).toEqual(large)
  })
})

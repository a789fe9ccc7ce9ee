import { type Codec, defaultLimits, Fault } from '@sluice/core'
import { codecProperties, encodeAll, goldenFrames } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CONNECT_BYTES_MAX, createCodec } from './codec.ts'
import { encodePacket } from './encode.ts'
import type { Frame, Inbound, Version } from './packets.ts'
import { USER_PROPERTIES_MAX } from './properties.ts'

const limits = { ...defaultLimits, frameBytes: 512 * 1024 }
const server = createCodec(limits)

/** Packets of a client there and back: decoded by us, encoded by mqtt-packet in the version of the last CONNECT. */
const codec = (start: Version = 5): Codec<Frame> => {
  let version = start
  return {
    decoder: () => server.decoder(),
    encode(frame) {
      const packet = frame as Inbound
      if (packet.cmd !== 'connect') return encodePacket(packet, version)
      version = packet.protocolVersion
      const { will } = packet
      const userProperties = will?.properties?.userProperties?.map(([name, value]) => ({ [name]: value }))
      const properties = { ...will?.properties, ...(userProperties && { userProperties }) }
      return encodePacket({ ...packet, ...(will && { will: { ...will, properties } }) } as Inbound, version)
    },
  }
}

/** Without what mqtt-packet leaves lying about in its objects. */
const view = (frame: Frame): unknown => {
  const { length, ...rest } = frame as unknown as Record<string, unknown>
  if (rest.cmd !== 'publish') for (const name of ['qos', 'dup', 'retain']) delete rest[name]
  for (const name of ['topic', 'payload']) if (rest[name] === null) delete rest[name]
  delete rest.protocolId
  return rest
}

const connect = (version: Version): Buffer =>
  Buffer.from(version === 5 ? '101000044d51545405020000000003616263' : '100f00044d515454040200000003616263', 'hex')

describe('golden packets', () => {
  const directory = new URL('../fixtures', import.meta.url).pathname
  for (const { name, run } of goldenFrames(directory, codec(), { view: (frame) => withName(view(frame)) }))
    it(name, run)
  const withName = (frame: unknown) =>
    (frame as Frame & { cmd: string }).cmd === 'connect' ? { protocolId: 'MQTT', ...(frame as object) } : frame
})

const text = fc.stringMatching(/^[a-zü/€]{1,8}$/u)
const id = fc.integer({ min: 1, max: 65_535 })
const qos = fc.constantFrom(0, 1, 2)
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const pairs = fc.array(fc.tuple(fc.constantFrom('a', 'b', '7', '__proto__'), text), { minLength: 1, maxLength: 4 })
const user = fc.record({ userProperties: pairs })
const some = <T extends object>(properties: fc.Arbitrary<T>) => fc.option(properties, { nil: undefined })
const withId = (packet: { qos?: number; messageId: number }) => {
  const { messageId, ...rest } = packet
  return rest.qos === 0 ? { ...rest, dup: false } : packet
}

const publish = (version: Version) =>
  fc
    .record({
      cmd: fc.constant('publish'),
      retain: fc.boolean(),
      qos,
      dup: fc.boolean(),
      topic: text,
      payload: bytes,
      messageId: id,
      ...(version === 5 && { properties: some(message) }),
    })
    .map(withId)
const message = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.integer({ min: 0, max: 0xffff_ffff }),
    contentType: text,
    responseTopic: text,
    correlationData: bytes.filter(({ length }) => length > 0),
    topicAlias: id,
    userProperties: pairs,
  },
  { requiredKeys: ['userProperties'] },
)
const ack = (version: Version) =>
  fc.record({
    cmd: fc.constantFrom('puback', 'pubrec'),
    messageId: id,
    ...(version === 5 && { reasonCode: fc.constantFrom(0, 0x80, 0x97), properties: some(user) }),
  })
const subscribe = (version: Version) =>
  fc.record({
    cmd: fc.constant('subscribe'),
    subscriptions: fc.array(
      fc.record({
        topic: text,
        qos,
        ...(version === 5 && { nl: fc.boolean(), rap: fc.boolean(), rh: fc.constantFrom(0, 1, 2) }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    messageId: id,
    ...(version === 5 && {
      properties: some(fc.record({ subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }) })),
    }),
  })
const unsubscribe = fc.record({
  cmd: fc.constant('unsubscribe'),
  unsubscriptions: fc.array(text, { minLength: 1, maxLength: 3 }),
  messageId: id,
})
const packets = (version: Version): fc.Arbitrary<Frame> =>
  fc
    .oneof(publish(version), ack(version), subscribe(version), unsubscribe, fc.constant({ cmd: 'pingreq' }))
    .map((packet) => {
      const { properties, ...rest } = packet as { properties?: object | undefined }
      return (properties ? { ...rest, properties } : rest) as Frame
    })

const announcements = ['30ffffff7f', '82ffffff7f', '30ffffffff01', '30808000'].map((hex) => Buffer.from(hex, 'hex'))

for (const version of [4, 5] as const) {
  describe(`MQTT ${version}`, () => {
    const options = { view, preamble: connect(version), announcements }
    const checks = codecProperties(`version ${version}`, codec(version), packets(version), limits, options)
    for (const { name, run } of checks) it(name, run)
  })
}

describe('CONNECT', () => {
  const checks = codecProperties(
    'first packet',
    codec(),
    fc.record({
      cmd: fc.constant('connect'),
      protocolVersion: fc.constantFrom(4, 5),
      clean: fc.boolean(),
      keepalive: fc.integer({ min: 0, max: 65_535 }),
      clientId: text,
      username: text,
      password: bytes.filter(({ length }) => length > 0),
      will: fc.record({ topic: text, payload: bytes.filter(({ length }) => length > 0), qos, retain: fc.boolean() }),
    }) as fc.Arbitrary<Frame>,
    limits,
    { view, announcements: [Buffer.from('10ffffff7f', 'hex'), Buffer.from('10818018', 'hex')], runs: 2_000 },
  )
  // Of several CONNECTs the second is refused: splits are tried on one.
  for (const { name, run } of checks) if (!name.includes('any split')) it(name, run)

  it('split anywhere is the same', () => {
    const bytes = connect(5)
    const [whole] = frames(bytes)
    for (let at = 0; at < bytes.length; at++) expect(frames(bytes.subarray(0, at), bytes.subarray(at))).toEqual([whole])
    expect(frames(...Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual([whole])
  })
})

const frames = (...chunks: readonly Buffer[]): Frame[] => {
  const seen: Frame[] = []
  const decoder = server.decoder()
  for (const chunk of chunks) decoder.decode(chunk, (frame) => seen.push(frame))
  return seen
}
const refused = (hex: string, version: Version): string => {
  try {
    frames(connect(version), Buffer.from(hex.replace(/\s/g, ''), 'hex'))
  } catch (error) {
    if (Fault.is(error)) return error.about === undefined ? error.code : `${error.code} ${error.about}`
    throw error
  }
  return 'taken'
}

/** What mqtt-packet lets pass and a server must not. */
const both: readonly (readonly [name: string, hex: string, fault: string])[] = [
  ['a second CONNECT', '100f00044d515454040200000003616263', 'malformed protocol'],
  ['packet type 0', '0000', 'malformed'],
  ['CONNACK', '20020000', 'malformed protocol'],
  ['SUBACK', '9003000100', 'malformed protocol'],
  ['UNSUBACK', 'b0020001', 'malformed protocol'],
  ['PINGRESP', 'd000', 'malformed protocol'],
  ['AUTH', 'f000', 'malformed protocol'],
  ['PUBREL with flags 0', '60020001', 'malformed'],
  ['SUBSCRIBE with flags 0', '80060001000161 00', 'malformed'],
  ['PUBLISH with QoS 3', '3606000161000100', 'malformed'],
  ['PUBLISH with DUP and QoS 0', '3803000161', 'malformed protocol'],
  ['PUBLISH with packet id 0', '3206000161000000', 'malformed protocol'],
  ['PUBLISH to a+', '3005 0002612b 00', 'malformed topic'],
  ['PUBLISH to #', '3004 000123 00', 'malformed topic'],
  ['PUBLISH with a topic beyond the packet', '3003000561', 'malformed'],
  ['PUBLISH with bad UTF-8', '3005 0002c328 00', 'malformed'],
  ['PUBLISH with a surrogate', '3006 0003eda080 00', 'malformed'],
  ['PUBLISH with U+0000', '3005 00026100 00', 'malformed'],
  ['PUBACK with packet id 0', '40020000', 'malformed protocol'],
  ['PUBACK cut short', '400100', 'malformed'],
  ['PINGREQ with a byte', 'c00100', 'malformed'],
  ['a length of five bytes', '30ffffffff01', 'tooLarge'],
  ['a length of five bytes, all small', '3080808080 01', 'malformed'],
  ['a length that is not in its shortest form', 'c08000', 'malformed'],
  ['256 MiB announced', '30ffffff7f', 'tooLarge'],
]
const three: typeof both = [
  ['PUBLISH without a topic', '3002 0000', 'malformed topic'],
  ['SUBSCRIBE without a filter', '82020001', 'malformed protocol'],
  ['SUBSCRIBE with QoS 3', '820600010001 61 03', 'malformed'],
  ['SUBSCRIBE with reserved bits', '820600010001 61 04', 'malformed'],
  ['SUBSCRIBE with packet id 0', '820600000001 61 00', 'malformed protocol'],
  ['UNSUBSCRIBE without a filter', 'a2020001', 'malformed protocol'],
  ['DISCONNECT with a reason', 'e00100', 'malformed'],
  ['PUBACK with a reason', '4003000100', 'malformed'],
]
const five: typeof both = [
  ['PUBLISH without topic and alias', '3003 0000 00', 'malformed protocol'],
  ['PUBLISH with a subscription id', '3006 000161 020b01', 'malformed protocol'],
  ['PUBLISH with an alias twice', '300a 000161 06230001230002', 'malformed protocol'],
  ['PUBLISH with an unknown property', '3006 000161 027f01', 'malformed'],
  ['PUBLISH with a payload format of 2', '3006 000161 020102', 'malformed protocol'],
  ['PUBLISH with properties beyond the packet', '3006 000161 7f0101', 'malformed'],
  ['PUBLISH with a response topic with a wildcard', '3008 000161 04080001 23', 'malformed protocol'],
  ['PUBLISH with a session expiry', '3009 000161 051100000001', 'malformed protocol'],
  ['SUBSCRIBE without a filter', '8203000100', 'malformed protocol'],
  ['SUBSCRIBE with subscription id 0', '8209 0001 020b00 000161 00', 'malformed protocol'],
  ['SUBSCRIBE with reserved bits', '82070001 00 0001 61 40', 'malformed'],
  ['SUBSCRIBE with retain handling 3', '82070001 00 0001 61 30', 'malformed protocol'],
  ['SUBSCRIBE with No Local on a shared filter', '82100001 00 000a 2473686172652f672f61 04', 'malformed protocol'],
  ['UNSUBSCRIBE without a filter', 'a203000100', 'malformed protocol'],
  ['PUBACK with bytes behind it', '4005 0001 00 00 00', 'malformed'],
  ['PUBACK with an unknown reason', '4003 0001 55', 'malformed'],
  ['DISCONNECT with a reason of a server', 'e0018b', 'malformed protocol'],
  ['DISCONNECT with a server reference', 'e006 00 04 1c000161', 'malformed protocol'],
]

describe('what no client may send', () => {
  for (const version of [4, 5] as const) {
    const rows = [...both.filter(([name]) => name !== 'AUTH' || version === 5), ...(version === 4 ? three : five)]
    for (const [name, hex, fault] of rows) {
      it(`${name} to MQTT ${version}`, () => expect(refused(hex, version)).toBe(fault))
    }
  }

  it('anything before CONNECT', () => {
    for (const hex of ['c000', '30030001 61', '474554202f20485454502f312e31', '160301']) {
      expect(() => frames(Buffer.from(hex.replace(/\s/g, ''), 'hex'))).toThrow()
    }
  })

  const connects: typeof both = [
    ['reserved flag', '100f00044d515454 04 03 0000 0003616263', 'malformed'],
    ['will QoS without a will', '100f00044d515454 04 0a 0000 0003616263', 'malformed'],
    ['will retain without a will', '100f00044d515454 04 22 0000 0003616263', 'malformed'],
    ['will QoS 3', '101600044d515454 04 1e 0000 0003616263 000161 000178 00', 'malformed'],
    ['a password without a user name', '101200044d515454 04 42 0000 0003616263 000178', 'malformed'],
    ['bytes behind it', '101000044d515454 04 02 0000 0003616263 00', 'malformed'],
    ['a client id beyond the packet', '100f00044d515454 04 02 0000 0009616263', 'malformed'],
    ['a client id with U+0000', '100f00044d515454 04 02 0000 0003610063', 'malformed'],
    ['a will without a topic', '101400044d515454 04 06 0000 0003616263 0000 000178', 'malformed topic'],
    ['another name', '100f00044d515458 04 02 0000 0003616263', 'malformed'],
    ['level 6', '100f00044d515454 06 02 0000 0003616263', 'unsupported version'],
    ['level 2', '100f00044d515454 02 02 0000 0003616263', 'unsupported version'],
    ['a bridge', '100f00044d515454 84 02 0000 0003616263', 'unsupported version'],
    ['MQTT 3.1', '101100064d5149736470 03 02 0000 0003616263', 'unsupported version'],
    ['receive maximum 0', '101300044d515454 05 02 0000 03 210000 0003616263', 'malformed protocol'],
    ['packet size 0', '101500044d515454 05 02 0000 05 2700000000 0003616263', 'malformed protocol'],
    ['data without a method', '101400044d515454 05 02 0000 04 16000178 0003616263', 'malformed protocol'],
  ]
  for (const [name, hex, fault] of connects) {
    it(`CONNECT: ${name}`, () => {
      const seen: Frame[] = []
      const decode = () => server.decoder().decode(Buffer.from(hex.replace(/\s/g, ''), 'hex'), (one) => seen.push(one))
      expect(decode).toThrow(
        expect.objectContaining({ code: fault.split(' ')[0], about: fault.split(' ')[1] }) as unknown as Error,
      )
      if (name !== 'another name')
        expect(seen).toMatchObject([{ cmd: 'rejected', version: /0[46]|05/.test(hex) ? expect.any(Number) : 4 }])
    })
  }

  it('more user properties or filters than a packet may have', () => {
    const packet = (count: number) =>
      Buffer.concat(
        encodePacket(
          {
            cmd: 'publish',
            topic: 'a',
            payload: Buffer.alloc(0),
            qos: 0,
            dup: false,
            retain: false,
            properties: { userProperties: Array.from({ length: count }, () => ['a', 'b'] as const) },
          },
          5,
        ),
      )
    expect(frames(connect(5), packet(USER_PROPERTIES_MAX))).toHaveLength(2)
    expect(() => frames(connect(5), packet(USER_PROPERTIES_MAX + 1))).toThrow(/user properties/)
    const filters = Buffer.concat(Array.from({ length: 1_025 }, () => Buffer.from('00016100', 'hex')))
    const subscribe = Buffer.concat([Buffer.from('828620', 'hex'), Buffer.from('0001', 'hex'), filters])
    expect(() => frames(connect(4), subscribe)).toThrow(/filters/)
  })
})

describe('bytes', () => {
  it('one by one cost no more than one copy each', () => {
    const packet = {
      cmd: 'publish',
      topic: 'a',
      payload: Buffer.alloc(500_000),
      qos: 0,
      dup: false,
      retain: false,
    } as const
    const whole = encodeAll(codec(), [packet])
    const decoder = server.decoder()
    decoder.decode(connect(5), () => undefined)
    const from = performance.now()
    let seen = 0
    for (let at = 0; at < whole.length; at++) decoder.decode(whole.subarray(at, at + 1), () => seen++)
    expect(seen).toBe(1)
    // 18 µs for each byte, mqtt-packet's price for an incomplete packet, would be nine seconds and growing.
    expect(performance.now() - from).toBeLessThan(3_000)
  })

  it('of a packet that is only announced take no room', () => {
    const decoder = server.decoder()
    decoder.decode(connect(5), () => undefined)
    decoder.decode(Buffer.from('30ffff1e 0001'.replace(' ', ''), 'hex'), () => undefined)
    expect(decoder.buffered).toBe(6)
    expect(() => server.decoder().decode(Buffer.from('10ffffff7f', 'hex'), () => undefined)).toThrow(/at most/)
    expect(CONNECT_BYTES_MAX).toBeLessThan(limits.frameBytes)
  })

  it('keep the order and the repeats of user properties', () => {
    const userProperties = [
      ['b', '1'],
      ['7', ''],
      ['b', ''],
      ['__proto__', 'x'],
      ['a', '2'],
    ] as const
    const base = { cmd: 'publish', topic: 'a', payload: Buffer.alloc(0), qos: 0, dup: false, retain: false } as const
    const [, seen] = frames(connect(5), encodeAll(codec(), [{ ...base, properties: { userProperties } }]))
    expect((seen as typeof base & { properties: object }).properties).toEqual({ userProperties })
  })

  it('have no words of MQTT 5 for a client of 3.1.1', () => {
    expect(server.encode({ version: 4, packet: { cmd: 'disconnect', reasonCode: 0x8b } })).toEqual([])
    expect(server.encode({ version: 4, packet: { cmd: 'connack', sessionPresent: false, reasonCode: 0x81 } })).toEqual(
      [],
    )
    expect(
      server.encode({ version: 4, packet: { cmd: 'connack', sessionPresent: false, reasonCode: 0x84, returnCode: 1 } }),
    ).toEqual([Buffer.from('20020001', 'hex')])
  })
})

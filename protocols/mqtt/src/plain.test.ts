import fc from 'fast-check'
import mqtt from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { encodePacket } from './encode.ts'
import type { Ack, Publish, QoS, Version } from './packets.ts'
import { readPlain, writePlain } from './plain.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const version = fc.constantFrom<Version>(4, 5)
const messageId = fc.integer({ min: 1, max: 65_535 })
const named = fc.string({ minLength: 1, maxLength: 200 }).map((text) => text.replace(/[+#\0]/g, 'x'))
const publish = fc
  .record({
    topic: fc.oneof(fc.constantFrom('a', 'a/b', '/', '\ufeffü', '😀/x'), named),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom(127, 128, 4_096, 4_097, 16_384).map((n) => new Uint8Array(n)),
    ),
    qos: fc.constantFrom<QoS>(0, 1, 2),
    retain: fc.boolean(),
    messageId,
  })
  .map(({ qos, payload, messageId: id, ...rest }): Publish => {
    const base = { cmd: 'publish' as const, ...rest, payload: Buffer.from(payload), qos, dup: qos > 0 && id % 2 === 0 }
    return qos > 0 ? { ...base, messageId: id } : base
  })
const ack = fc.record({ cmd: fc.constantFrom<Ack['cmd']>('puback', 'pubrec', 'pubrel', 'pubcomp'), messageId })

const general = (bytes: Buffer, protocolVersion: Version) => {
  const parser = mqtt.parser({ protocolVersion })
  let packet: unknown
  parser.on('packet', (parsed) => (packet = parsed))
  parser.parse(bytes)
  return packet as Publish
}
const bodyOf = (bytes: Buffer) => {
  let at = 1
  while (bytes[at++]! & 0x80);
  return bytes.subarray(at)
}

/** Where nothing but the body stands, and where it stands between others. */
const read = (first: number, body: Buffer, of: Version) => {
  const alone = readPlain(first, body, 0, body.length, of)
  const among = Buffer.concat([Buffer.of(1, 2, 3), body, Buffer.of(4)])
  expect(readPlain(first, among, 3, 3 + body.length, of)).toEqual(alone)
  return alone
}

describe('the short way', () => {
  it('writes PUBLISH as mqtt-packet does', () => {
    fc.assert(
      fc.property(publish, version, fc.constantFrom(0, 4_096), (packet, of, copyMax) => {
        const bytes = Buffer.concat(writePlain(packet, of, copyMax)!)
        expect(bytes.equals(Buffer.concat(encodePacket(packet, of)))).toBe(true)
      }),
      { numRuns: numRuns / 5 },
    )
  })

  it('reads PUBLISH as mqtt-packet does', () => {
    fc.assert(
      fc.property(publish, version, (packet, of) => {
        const bytes = Buffer.concat(encodePacket(packet, of))
        const { topic, payload, qos, dup, retain, messageId: id } = general(bytes, of)
        const back = read(bytes[0]!, bodyOf(bytes), of) as Publish
        expect(back).toMatchObject({ cmd: 'publish', topic, qos, dup, retain, length: bodyOf(bytes).length })
        expect([back.payload.equals(payload), back.messageId]).toEqual([true, id])
      }),
      { numRuns: numRuns / 5 },
    )
  })

  it('reads acknowledgements, and writes what reads the same', () => {
    fc.assert(
      fc.property(ack, version, (packet, of) => {
        const bytes = Buffer.concat(writePlain(packet, of, 0)!)
        expect(bytes).toHaveLength(4)
        expect(general(bytes, of)).toMatchObject(packet)
        expect(read(bytes[0]!, bodyOf(bytes), of)).toEqual(of === 5 ? { ...packet, reasonCode: 0 } : packet)
      }),
      { numRuns: numRuns / 5 },
    )
  })

  it('leaves everything else alone', () => {
    const properties = { contentType: 'x' }
    const one: Publish = { cmd: 'publish', topic: 'a', payload: Buffer.from('x'), qos: 0, dup: false, retain: false }
    expect(writePlain({ ...one, properties }, 5, 0)).toBeUndefined()
    expect(writePlain({ ...one, properties }, 4, 0)).toBeDefined() // 3.1.1 has none
    expect(writePlain({ cmd: 'puback', messageId: 1, reasonCode: 0x10 }, 5, 0)).toBeUndefined()
    expect(writePlain({ cmd: 'pingresp' }, 5, 0)).toBeUndefined()
    const [first, ...body] = Buffer.concat(encodePacket({ ...one, properties }, 5))
    expect(read(first!, Buffer.from(body.slice(1)), 5)).toBeUndefined()
    expect(read(0x40, Buffer.of(0, 1, 0x10), 5)).toBeUndefined()
    expect(read(0xc0, Buffer.alloc(0), 5)).toBeUndefined()
  })

  it('leaves what is not right to the checks', () => {
    const bodies = ['', '00', '0001', '0000ff', '00012b', '000123', '000100', '0001ff', '0002ed', '000361']
    for (const hex of bodies) {
      for (const of of [4, 5] as const) expect(read(0x30, Buffer.from(hex, 'hex'), of)).toBeUndefined()
    }
    expect(read(0x32, Buffer.from('0001610000', 'hex'), 4)).toBeUndefined()
    expect(read(0x32, Buffer.from('00016100', 'hex'), 4)).toBeUndefined()
    expect(read(0x30, Buffer.from('000161', 'hex'), 5)).toBeUndefined()
    expect(read(0x40, Buffer.of(0, 0), 4)).toBeUndefined()
  })
})

import { createRequire } from 'node:module'
import { defaultLimits, Fault } from '@sluice/core'
import { codecProperties, encodeAll, plain } from '@sluice/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compositeOf, frames, saslFrames } from '../test/arbitrary.ts'
import { amqpCodec, detect, type Frame, MAX_FRAME_SIZE } from './codec.ts'
import type { CompositeName, Performative } from './shapes.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const codec = amqpCodec(defaultLimits)
const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex')
const AMQP_HEADER = hex('414d5150 00010000')
const SASL_HEADER = hex('414d5150 03010000')
const open: Frame = { kind: 'amqp', channel: 0, body: { type: 'open', containerId: 'c' } }
const opened = Buffer.concat([AMQP_HEADER, encodeAll(codec, [open])])

const decode = (...chunks: Buffer[]): Frame[] => {
  const seen: Frame[] = []
  const decoder = codec.decoder()
  for (const chunk of chunks) decoder.decode(chunk, (frame) => seen.push(frame))
  return seen
}
const refusal = (...chunks: Buffer[]): string => {
  try {
    decode(...chunks)
  } catch (error) {
    if (Fault.is(error)) return `${error.code} ${error.about}: ${error.message}`
    throw error
  }
  return 'none'
}

describe('AMQP frames', () => {
  const announcements = ['7fffffff 02000000', 'ffffffff 02000000', '00010001 02000000'].map(hex)
  for (const { name, run } of [
    ...codecProperties('frames', codec, frames, { frameBytes: MAX_FRAME_SIZE }, { preamble: opened, announcements }),
    ...codecProperties(
      'SASL',
      codec,
      saslFrames,
      { frameBytes: 512 },
      {
        preamble: SASL_HEADER,
        announcements: [hex('7fffffff 02010000'), hex('00000201 02010000')],
      },
    ),
  ])
    it(name, run)

  it('have a header before them', () => {
    expect(decode(SASL_HEADER, AMQP_HEADER)).toEqual([
      { kind: 'header', id: 3, version: '1.0.0' },
      { kind: 'header', id: 0, version: '1.0.0' },
    ])
    expect(decode(hex('414d5150 00000901'))).toEqual([{ kind: 'header', id: 0, version: '0.9.1' }])
  })

  it('come in one piece with the header, and in single bytes', () => {
    const bytes = Buffer.concat([opened, encodeAll(codec, [{ kind: 'amqp', channel: 7 }])])
    const whole = decode(bytes)
    expect(whole).toHaveLength(3)
    expect(decode(...Array.from(bytes, (byte) => Buffer.of(byte))).map(plain)).toEqual(whole.map(plain))
  })

  it('have an extended header that is passed over', () => {
    expect(decode(opened, hex('0000000c 03 00 0001 cafebabe')).at(-1)).toEqual({ kind: 'amqp', channel: 1 })
  })

  it.each([
    ['size 0 during SASL', [SASL_HEADER, hex('00000000')], 'malformed frame: a frame of 0 bytes'],
    ['size 7', [opened, hex('00000007')], 'malformed frame: a frame of 7 bytes'],
    ['2 GiB', [opened, hex('7fffffff')], 'tooLarge frame: a frame of 2147483647 bytes where 65536 are allowed'],
    [
      '513 bytes before open',
      [AMQP_HEADER, hex('00000201')],
      'tooLarge frame: a frame of 513 bytes where 512 are allowed',
    ],
    ['513 bytes of SASL', [SASL_HEADER, hex('00000201')], 'tooLarge frame: a frame of 513 bytes where 512 are allowed'],
    ['data offset 1', [opened, hex('00000008 01000000')], 'malformed frame: data offset 1 in a frame of 8 bytes'],
    [
      'data offset beyond the frame',
      [opened, hex('00000008 ff000000')],
      'malformed frame: data offset 255 in a frame of 8 bytes',
    ],
    ['type 2', [opened, hex('00000008 02020000')], 'malformed frame: a frame of type 2 is not expected here'],
    ['SASL after SASL', [opened, hex('00000008 02010000')], 'malformed frame: a frame of type 1 is not expected here'],
    [
      'AMQP during SASL',
      [SASL_HEADER, hex('00000008 02000000')],
      'malformed frame: a frame of type 0 is not expected here',
    ],
    ['another magic', [hex('414d5151 00010000')], 'malformed frame: not an AMQP protocol header'],
    ['the first byte of another magic', [hex('42')], 'malformed frame: not an AMQP protocol header'],
    [
      'a header in the open',
      [opened, AMQP_HEADER],
      'tooLarge frame: a frame of 1095586128 bytes where 65536 are allowed',
    ],
    [
      'a body that is not described',
      [opened, hex('00000009 02000000 40')],
      'malformed value: a frame body is not a described type',
    ],
    [
      'a body of no known type',
      [opened, hex('0000000c 02000000 00 53 19 45')],
      'malformed value: a frame body is of no known type',
    ],
    [
      'a body that is no performative',
      [opened, hex('0000000c 02000000 00 53 24 45')],
      'malformed frame: accepted as a frame body',
    ],
    [
      'close in a SASL frame',
      [SASL_HEADER, hex('0000000c 02010000 00 53 18 45')],
      'malformed frame: close in a SASL frame',
    ],
    [
      'begin without fields',
      [opened, hex('0000000c 02000000 00 53 11 45')],
      'malformed value: begin without nextOutgoingId',
    ],
    [
      'end with a field too many',
      [opened, hex('00000010 02000000 00 53 17 c0 03 02 40 40')],
      'malformed value: end has no field 2',
    ],
    [
      'handle as a string',
      [opened, hex('00000011 02000000 00 53 16 c0 04 01 a1 01 61')],
      'malformed value: handle of detach is not of type uint',
    ],
    ['bytes after end', [opened, hex('0000000d 02000000 00 53 17 45 00')], 'malformed frame: bytes after end'],
  ])('refuses %s', (_, chunks, why) => {
    expect(refusal(...chunks)).toBe(why)
  })

  it('takes descriptors of every form', () => {
    const end = { kind: 'amqp', channel: 0, body: { type: 'end' } }
    const symbolic = Buffer.from('amqp:end:list')
    for (const descriptor of [
      '5317',
      '800000000000000017',
      `a30d${symbolic.toString('hex')}`,
      `b30000000d${symbolic.toString('hex')}`,
    ]) {
      const body = hex(`00 ${descriptor} 45`)
      const head = hex('00000000 02000000')
      head.writeUInt32BE(8 + body.length)
      expect(
        decode(opened, Buffer.concat([head, body]))
          .slice(2)
          .map(plain),
      ).toEqual([end])
    }
  })

  it('detects AMQP of any version and nothing else', () => {
    expect(detect(hex('414d5150 00000901'))).toBe(true)
    expect(detect(hex('414d51'))).toBeUndefined()
    expect(detect(hex('41'))).toBeUndefined()
    expect(detect(Buffer.from('AMQX'))).toBe(false)
    expect(detect(Buffer.from('GET '))).toBe(false)
  })
})

// ── Two other libraries as oracles ────────────────────────────────────────────────────────────────

const require = createRequire(import.meta.url)
const rheaFrames = require('rhea/lib/frames.js')
const amqp10 = require('amqp10/lib/frames.js')
/** What amqp10 reads from. */
const BufferList = createRequire(require.resolve('amqp10/lib/frames.js'))('bl')

const performatives: readonly Performative['type'][] = [
  'open',
  'begin',
  'attach',
  'flow',
  'transfer',
  'disposition',
  'detach',
  'end',
  'close',
]
const snake = (name: string) => name.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`)

/** What rhea makes of a value of ours. */
const asRhea = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return value.map(asRhea)
  return undefined
}
const scalar = (value: unknown) => typeof value !== 'object' || Buffer.isBuffer(value) || Array.isArray(value)

describe('performatives', () => {
  it('are read by rhea as they were written here, and read here as rhea writes them', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...performatives).chain((name) => compositeOf(name as CompositeName)),
        (body) => {
          const bytes = encodeAll(codec, [{ kind: 'amqp', channel: 3, body: body as Performative }])
          const theirs = rheaFrames.read_frame(bytes)
          expect(theirs.channel).toBe(3)
          const again = theirs.performative
          for (const [field, value] of Object.entries(body)) {
            if (field === 'type' || value === undefined || !scalar(value) || typeof value === 'bigint') continue
            expect(plain(again[snake(field)]), field).toEqual(plain(asRhea(value)))
          }
          const back = rheaFrames.write_frame(rheaFrames.amqp_frame(3, again.described(), theirs.payload))
          const ours = decode(body.type === 'open' ? AMQP_HEADER : opened, back).at(-1) as Extract<
            Frame,
            { kind: 'amqp' }
          >
          for (const [field, value] of Object.entries(body)) {
            if (field === 'type' || value === undefined || !scalar(value)) continue
            expect(plain((ours.body as unknown as Record<string, unknown>)[field]), field).toEqual(plain(value))
          }
        },
      ),
      { numRuns: numRuns / 2 },
    )
  })

  it('written by amqp10 are read here, and it reads ours', () => {
    const transfer = new amqp10.TransferFrame({
      channel: 1,
      handle: 1,
      deliveryId: 2,
      deliveryTag: Buffer.from([3]),
      settled: true,
    })
    transfer.payload = hex('005377 a10161')
    const examples = [
      new amqp10.OpenFrame({ containerId: 'test', hostname: 'localhost' }),
      new amqp10.BeginFrame({ channel: 1, nextOutgoingId: 1, incomingWindow: 100, outgoingWindow: 100 }),
      new amqp10.AttachFrame({
        channel: 1,
        name: 'n',
        handle: 1,
        role: 'sender',
        source: { address: 'a' },
        target: { address: 'b' },
        initialDeliveryCount: 1,
      }),
      new amqp10.FlowFrame({
        channel: 1,
        handle: 1,
        nextIncomingId: 1,
        incomingWindow: 2,
        nextOutgoingId: 3,
        outgoingWindow: 4,
        deliveryCount: 5,
        linkCredit: 500,
        drain: true,
      }),
      transfer,
      new amqp10.DispositionFrame({ channel: 1, role: 'receiver', first: 1, last: 9, settled: true }),
      new amqp10.DetachFrame({ channel: 1, handle: 1, closed: true }),
      new amqp10.EndFrame({ channel: 1 }),
      new amqp10.CloseFrame(),
    ]
    for (const example of examples) {
      const written: Buffer[] = []
      amqp10.writeFrame(example, { write: (bytes: Buffer) => written.push(bytes) })
      const ours = decode(example.containerId ? AMQP_HEADER : opened, Buffer.concat(written)).at(-1) as Extract<
        Frame,
        { kind: 'amqp' }
      >
      for (const [field, value] of Object.entries(ours.body as unknown as Record<string, unknown>)) {
        if (field === 'type' || typeof value === 'object' || value === undefined || !(field in example)) continue
        if (typeof example[field] === typeof value) expect(value, field).toEqual(example[field])
      }
      const theirs = amqp10.readFrame(new BufferList(encodeAll(codec, [ours])))
      for (const [field, value] of Object.entries(ours.body as unknown as Record<string, unknown>)) {
        if (typeof value === 'number' && field in theirs) expect(Number(theirs[field]), field).toBe(value)
        if (typeof value === 'string' && field !== 'type') expect(theirs[field], field).toBe(value)
      }
    }
  })

  it('of SASL are read by rhea', () => {
    for (const mechanism of ['PLAIN', 'ANONYMOUS']) {
      const bytes = rheaFrames.write_frame(
        rheaFrames.sasl_frame(rheaFrames.sasl_init({ mechanism, initial_response: Buffer.from('\0u\0p') }).described()),
      )
      expect(decode(SASL_HEADER, bytes).at(-1)).toMatchObject({ kind: 'sasl', body: { type: 'saslInit', mechanism } })
    }
    const ours = encodeAll(codec, [
      { kind: 'sasl', body: { type: 'saslMechanisms', saslServerMechanisms: ['PLAIN', 'ANONYMOUS'] } },
    ])
    expect(rheaFrames.read_frame(ours).performative.sasl_server_mechanisms.map(String)).toEqual(['PLAIN', 'ANONYMOUS'])
  })
})

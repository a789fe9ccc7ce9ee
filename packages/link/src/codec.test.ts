import { type Delivered, Fault, type Kind, type Message, type Replies } from '@sluice/core'
import { encodeRecord, noHost } from '@sluice/remoting'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { command, fault, type KindReply, message, NODE, reply } from '../test/arbitraries.ts'
import { readCommand, writeCommand } from './commands.ts'
import { readMessage, readsSpecial, writeMessage } from './messages.ts'
import { Reader } from './reader.ts'
import { noRecords, RecordReader, RecordWriter } from './records.ts'
import { DeliveryWriter, hasBatch, readDeliveries, readReply, writeReply } from './replies.ts'
import { readFault, readValue, writeFault, writeValue } from './values.ts'
import { type Frame, FrameDecoder, frame, STRANGER_BYTES } from './wire.ts'
import { Writer } from './writer.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const always = { numRuns }
const special = readsSpecial(NODE)

const framesOf = (bytes: Buffer, cuts: readonly number[] = []): Frame[] => {
  const seen: Frame[] = []
  const decoder = new FrameDecoder(64 * 1024 * 1024)
  let from = 0
  for (const cut of [...cuts.map((part) => Math.floor(part * bytes.length)), bytes.length].sort((a, b) => a - b)) {
    decoder.decode(Buffer.from(bytes.subarray(from, cut)), (one) => seen.push(one))
    from = cut
  }
  expect(decoder.buffered).toBe(0)
  return seen
}

const written = (write: (writer: Writer) => void): Buffer => {
  const writer = new Writer()
  writer.begin(frame.command, 7)
  write(writer)
  writer.end()
  return Buffer.concat(writer.take())
}
const through = <T>(write: (writer: Writer) => void, read: (reader: Reader) => T): T => {
  const [one, ...more] = framesOf(written(write))
  expect(more).toEqual([])
  expect([one!.type, one!.id]).toEqual([frame.command, 7])
  const value = read(one!.content)
  expect(one!.content.left).toBe(0)
  return value
}

const fields = ['topic', 'body', 'packed', 'encoding', 'bornAt', 'bornHost', 'original', 'half', 'deliverAt'] as const

/** What is compared: of a message with a property string what that does not say, of a Fault its words too. */
const comparable = (value: unknown): unknown => {
  if (Buffer.isBuffer(value) || typeof value !== 'object' || value === null) return value
  if (Fault.is(value)) return [value.code, value.message, value.about, value.node, value.retryAfter]
  if (Array.isArray(value)) return value.map(comparable)
  if ('packed' in value && 'body' in value) return fields.map((name) => (value as Message)[name])
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, comparable(inner)]))
}
const same = (seen: unknown, sent: unknown): void => expect(comparable(seen)).toEqual(comparable(sent))

describe('the link’s codec', () => {
  it('brings any message through', () => {
    fc.assert(
      fc.property(message, (one) => {
        const seen = through(
          (writer) => writeMessage(writer, one),
          (reader) => readMessage(reader),
        )
        same(seen, one)
      }),
      always,
    )
  })

  it('brings any command through', () => {
    fc.assert(
      fc.property(command, (one) => {
        same(
          through(
            (writer) => writeCommand<Kind>(writer, one),
            (reader) => readCommand(reader, special),
          ),
          one,
        )
      }),
      always,
    )
  })

  it('brings any reply through, each record once however often it is in it', () => {
    fc.assert(
      fc.property(fc.array(reply, { minLength: 1, maxLength: 2 }), (replies): void => {
        const counts = noRecords()
        const [to, from] = [new RecordWriter(counts), new RecordReader(NODE)]
        for (const one of replies) {
          const seen = carried(one, to, from)
          if (!hasBatch(one.kind)) {
            same(seen, one.reply)
            continue
          }
          const [got, sent] = [seen, one.reply] as Replies['pop'][]
          expect([...got!.batch].map(itemOf)).toEqual([...sent!.batch].map(itemOf))
          expect(got!.batch.bytes).toEqual(sent!.batch.bytes)
          const { batch: _, ...rest } = seen as Replies['read']
          const { batch: __, ...wanted } = one.reply as Replies['read']
          expect(rest).toEqual(wanted)
        }
      }),
      always,
    )
  })

  it('brings any plain value through, and faults', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: false, withNullPrototype: true, maxDepth: 3 }), (value) => {
        fc.pre(isData(value))
        const seen = through(
          (writer) => writeValue(writer, value),
          (reader) => readValue(reader),
        )
        expect(seen).toEqual(value)
      }),
      always,
    )
    fc.assert(
      fc.property(fault, (one) => {
        const seen = through(
          (writer) => writeFault(writer, one),
          (reader) => readFault(reader),
        )
        same(seen, one)
      }),
      always,
    )
  })

  it('gives the same frames however the bytes are split', () => {
    const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 })
    fc.assert(
      fc.property(fc.array(command, { maxLength: 4 }), cuts, (commands, at) => {
        const writer = new Writer()
        commands.forEach((one, id) => {
          writeCommand<Kind>(writer.begin(frame.command, id), one)
          writer.end()
        })
        const bytes = Buffer.concat(writer.take())
        const read = (frames: readonly Frame[]) =>
          frames.map(({ id, content }) => [id, comparable(readCommand(content, special))])
        const whole = read(framesOf(bytes))
        expect(whole).toHaveLength(commands.length)
        expect(read(framesOf(bytes, at))).toEqual(whole)
        if (bytes.length < 300)
          expect(
            read(
              framesOf(
                bytes,
                Array.from(bytes, (_, n) => n / bytes.length),
              ),
            ),
          ).toEqual(whole)
      }),
      { numRuns: numRuns / 4 },
    )
  })

  it('makes a Fault of garbage, or something', () => {
    const readers: ((reader: Reader) => unknown)[] = [
      (reader) => readCommand(reader, special),
      (reader) => readReply(reader, 'publish', [], special),
      (reader) => readReply(reader, 'settle', [], special),
      (reader) => readReply(reader, 'members', [], special),
      (reader) => readDeliveries(reader, new RecordReader(NODE)),
      (reader) => readFault(reader),
    ]
    const survives = (bytes: Buffer) => {
      for (const read of readers) refuses(() => read(new Reader(Buffer.from(bytes))))
      refuses(() => new FrameDecoder().decode(Buffer.from(bytes), () => undefined))
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => survives(Buffer.from(bytes))),
      always,
    )
    const damage = fc.tuple(command, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 4 }))
    fc.assert(
      fc.property(damage, ([one, at, harm]) => {
        const bytes = written((writer) => writeCommand<Kind>(writer, one)).subarray(9)
        bytes.set(harm.subarray(0, bytes.length), at % Math.max(1, bytes.length - harm.length))
        survives(bytes)
      }),
      always,
    )
  })

  it('refuses a length over its bound before anything is kept', () => {
    for (const announced of ['7fffffff', 'ffffffff', (STRANGER_BYTES + 1).toString(16).padStart(8, '0')]) {
      const decoder = new FrameDecoder()
      const code = codeOf(() => decoder.decode(Buffer.from(announced, 'hex'), () => undefined))
      expect([code, decoder.buffered]).toEqual(['tooLarge', 0])
    }
    expect(codeOf(() => new FrameDecoder().decode(Buffer.from('00000004', 'hex'), () => undefined))).toBe('malformed')
  })

  it('gives up a frame that cannot be said, and keeps those before it', () => {
    const writer = new Writer()
    writeCommand<'topic'>(writer.begin(frame.command, 1), { kind: 'topic', topic: 'T' })
    writer.end()
    const answer = { answer: [Buffer.alloc(70_000), Buffer.alloc(100), () => undefined] }
    expect(codeOf(() => writeValue(writer.begin(frame.reply, 2), answer))).toBe('internal')
    writer.abandon()
    writeCommand<'topic'>(writer.begin(frame.command, 3), { kind: 'topic', topic: 'U' })
    writer.end()
    const frames = framesOf(Buffer.concat(writer.take()))
    expect(frames.map(({ id, content }) => [id, readCommand(content, special)])).toEqual([
      [1, { kind: 'topic', topic: 'T' }],
      [3, { kind: 'topic', topic: 'U' }],
    ])
  })
})

describe('records', () => {
  const recordAt = (place: number, body = `b${place}`) =>
    encodeRecord({ topic: 'T', body: Buffer.from(body), properties: {} }, noHost, {
      queue: 0,
      offset: place,
      place,
      storedAt: 1,
    })

  it('travel once, and again when both ends have forgotten them', () => {
    const counts = noRecords()
    const [to, from] = [new RecordWriter(counts), new RecordReader(NODE)]
    const sent = (place: number, body?: string) => {
      const writer = new Writer()
      writer.begin(frame.deliveries, 1)
      to.write(writer, recordAt(place, body))
      writer.end()
      const [one] = framesOf(Buffer.concat(writer.take()))
      return from.read(one!.content)
    }
    const first = sent(0)
    expect(sent(0)).toBe(first)
    expect(counts).toMatchObject({ sent: 1, repeated: 1 })
    expect(sent(0, 'of another log').body.toString()).toBe('of another log')
    for (let place = 1; place < 200; place++) sent(place)
    expect(counts).toMatchObject({ sent: 201, repeated: 1 })
    expect([sent(199), sent(136), sent(135)].map(({ place }) => place)).toEqual([199, 136, 135])
    expect(counts).toMatchObject({ sent: 202, repeated: 3 })
    sent(1000, 'x'.repeat(70_000))
    sent(1000, 'x'.repeat(70_000))
    expect(counts).toMatchObject({ sent: 204, repeated: 3 })
  })
})

const itemOf = ({ message: one, ...rest }: Delivered) => ({ record: one.record, node: one.queue.node, ...rest })

const carried = ({ kind, reply: one }: KindReply, to: RecordWriter, from: RecordReader): Replies[Kind] => {
  const writer = new Writer()
  if (hasBatch(kind)) {
    writer.begin(frame.deliveries, 1)
    const deliveries = new DeliveryWriter(writer, to)
    for (const item of (one as Replies['pop']).batch) deliveries.write(item)
    writer.end()
  }
  writeReply<Kind>(writer.begin(frame.reply, 1), kind, one)
  writer.end()
  const frames = framesOf(Buffer.concat(writer.take()))
  const items = hasBatch(kind) ? readDeliveries(frames.shift()!.content, from) : []
  return readReply<Kind>(frames[0]!.content, kind, items, special)
}

const isData = (value: unknown): boolean => {
  if (typeof value === 'function' || typeof value === 'symbol') return false
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return Array.from(value, isData).every(Boolean)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.values(value).every(isData)
}

const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'none'
  } catch (error) {
    return Fault.from(error).code
  }
}
const refuses = (run: () => unknown): void => {
  try {
    run()
  } catch (error) {
    if (!Fault.is(error)) throw error
    expect(error.code).not.toBe('internal')
  }
}

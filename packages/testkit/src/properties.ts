import assert from 'node:assert/strict'
import { type Codec, Fault, type Limits } from '@sluice/core'
import fc from 'fast-check'
import type { Check } from './check.ts'
import { encodeAll, plain } from './golden.ts'

export interface PropertyOptions<Frame> {
  /** What of a frame is compared. Default: the frame itself. */
  readonly view?: (frame: Frame) => unknown
  /** Bytes that a client must send before a frame is looked at (a protocol header). */
  readonly preamble?: Buffer
  /** Beginnings of frames that announce more than may be: each must be refused at once. */
  readonly announcements?: readonly Buffer[]
  /** Default: SLUICE_RUNS, else 10,000. */
  readonly runs?: number
}

/** How much memory outside of the heap may grow while bytes are refused, beside one frame. */
const SLACK_BYTES = 4 * 1024 * 1024
const BLOCK = Buffer.alloc(64 * 1024)

/**
 * What every codec must do, whatever the bytes: a frame survives encoding, any split of the bytes gives the same frames,
 * any bytes give frames or a Fault and never another throw, and what a length announces is not allocated before it comes.
 * fast-check prints seed and counterexample of a failure; SLUICE_SEED repeats it.
 */
export const codecProperties = <Frame>(
  name: string,
  codec: Codec<Frame>,
  frames: fc.Arbitrary<Frame>,
  limits: Pick<Limits, 'frameBytes'>,
  options: PropertyOptions<Frame> = {},
): readonly Check[] => {
  const { preamble = Buffer.alloc(0), announcements = [] } = options
  const numRuns = options.runs ?? Number(process.env.SLUICE_RUNS ?? 10_000)
  const seed = process.env.SLUICE_SEED === undefined ? {} : { seed: Number(process.env.SLUICE_SEED) }
  const view = (frame: Frame) => plain((options.view ?? ((one: Frame) => one))(frame))
  const decoded = (...chunks: readonly Buffer[]): unknown[] => {
    const seen: unknown[] = []
    const decoder = codec.decoder()
    if (preamble.length > 0) decoder.decode(preamble, () => undefined)
    for (const chunk of chunks) decoder.decode(Buffer.from(chunk), (frame) => seen.push(view(frame)))
    return seen
  }
  const holds = <T>(arbitrary: fc.Arbitrary<T>, predicate: (value: T) => void, times = 1) =>
    fc.assert(fc.property(arbitrary, predicate), { numRuns: Math.max(1, Math.round(numRuns * times)), ...seed })
  const few = fc.array(frames, { minLength: 1, maxLength: 3 })

  return [
    {
      name: `${name}: decode(encode(frame)) is the frame`,
      async run() {
        holds(frames, (frame) => assert.deepEqual(decoded(encodeAll(codec, [frame])), [view(frame)]))
      },
    },
    {
      name: `${name}: what was decoded encodes to the same bytes`,
      async run() {
        holds(frames, (frame) => {
          const bytes = encodeAll(codec, [frame])
          const seen: Frame[] = []
          const decoder = codec.decoder()
          if (preamble.length > 0) decoder.decode(preamble, () => undefined)
          decoder.decode(Buffer.from(bytes), (one) => seen.push(one))
          assert.equal(encodeAll(codec, seen).toString('hex'), bytes.toString('hex'))
        })
      },
    },
    {
      name: `${name}: any split of the bytes gives the same frames`,
      async run() {
        holds(fc.tuple(few, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 })), ([list, cuts]) => {
          const bytes = encodeAll(codec, list)
          assert.deepEqual(decoded(...split(bytes, cuts)), list.map(view))
        })
        holds(few, (list) => assert.deepEqual(decoded(...single(encodeAll(codec, list))), list.map(view)), 0.1)
      },
    },
    {
      name: `${name}: any bytes give frames or a Fault`,
      async run() {
        holds(fc.uint8Array({ maxLength: 256 }), (bytes) => survives(codec, preamble, Buffer.from(bytes), limits))
      },
    },
    {
      name: `${name}: damaged frames, and frames that announce other lengths, give frames or a Fault`,
      async run() {
        const before = outside()
        holds(fc.tuple(frames, damage), ([frame, harm]) => {
          const bytes = harmed(encodeAll(codec, [frame]), harm)
          survives(codec, preamble, bytes, limits)
        })
        assertFlat(before, limits)
      },
    },
    ...announcements.map((head, index) => ({
      name: `${name}: announcement ${index + 1} (${head.toString('hex', 0, 24)}) is refused before it is allocated`,
      async run() {
        const before = outside()
        const decoder = codec.decoder()
        if (preamble.length > 0) decoder.decode(preamble, () => undefined)
        const fed = feed(decoder, head, limits)
        assertFlat(before, limits)
        assert.equal(fed, 'refused', 'bytes beyond limits.frameBytes were taken without a Fault')
      },
    })),
  ]
}

const outside = (): number => {
  const { external, arrayBuffers } = process.memoryUsage()
  return external + arrayBuffers
}

const assertFlat = (before: number, limits: Pick<Limits, 'frameBytes'>): void => {
  globalThis.gc?.()
  const grown = outside() - before
  assert.ok(grown < 2 * limits.frameBytes + SLACK_BYTES, `memory outside of the heap grew by ${grown} bytes`)
}

type Decoder<Frame> = ReturnType<Codec<Frame>['decoder']>

/** The head, then zeros until it is refused or twice the limit has gone in. */
const feed = <Frame>(decoder: Decoder<Frame>, head: Buffer, limits: Pick<Limits, 'frameBytes'>) => {
  try {
    decoder.decode(Buffer.from(head), () => undefined)
    for (let sent = 0; sent < 2 * limits.frameBytes; sent += BLOCK.length) {
      decoder.decode(Buffer.from(BLOCK), () => undefined)
      assert.ok(decoder.buffered <= limits.frameBytes, `${decoder.buffered} bytes are held for one frame`)
    }
  } catch (error) {
    if (Fault.is(error)) return 'refused'
    throw error
  }
  return 'taken'
}

const survives = <Frame>(
  codec: Codec<Frame>,
  preamble: Buffer,
  bytes: Buffer,
  limits: Pick<Limits, 'frameBytes'>,
): void => {
  for (const chunks of [[bytes], single(bytes)]) {
    const decoder = codec.decoder()
    try {
      if (preamble.length > 0) decoder.decode(preamble, () => undefined)
      for (const chunk of chunks) {
        decoder.decode(chunk, () => undefined)
        assert.ok(decoder.buffered <= Math.max(bytes.length, limits.frameBytes), 'more is held than came')
      }
    } catch (error) {
      if (!Fault.is(error)) throw error
      assert.notEqual(error.code, 'internal', 'bytes of a client are never an internal failure')
    }
  }
}

const single = (bytes: Buffer): Buffer[] => Array.from(bytes, (byte) => Buffer.of(byte))

const split = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const at = [...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b)
  let from = 0
  return at.map((to) => bytes.subarray(from, (from = to)))
}

interface Harm {
  readonly at: number
  readonly bytes: Uint8Array
  readonly cut: boolean
}

/** Lengths as the wires write them: two, three and four bytes, and MQTT's seven bits a byte. */
const lengths = ['7fffffff', 'ffffffff', '80000000', '00ffffff', 'ffffff7f', 'ffff', '7fff', '0000', 'ff', '00']
const damage: fc.Arbitrary<Harm> = fc.record({
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  bytes: fc.oneof(
    fc.constantFrom(...lengths).map((hex) => Uint8Array.from(Buffer.from(hex, 'hex'))),
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
  ),
  cut: fc.boolean(),
})

const harmed = (bytes: Buffer, { at, bytes: harm, cut }: Harm): Buffer => {
  const from = Math.floor(at * bytes.length)
  const damaged = Buffer.from(bytes)
  damaged.set(harm.subarray(0, Math.max(0, bytes.length - from)), from)
  return cut ? damaged.subarray(0, from + harm.length) : damaged
}

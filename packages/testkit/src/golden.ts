import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Codec, Fault } from '@sluice/core'
import type { Check } from './check.ts'

/**
 * A golden file pair in `directory`:
 *   name.hex   # client and version it was captured from, then the bytes in hex, blanks and line ends anywhere
 *   name.json  the frames, or { "frames": […], "exact": false, "why": "…" } where encoding gives other bytes that mean the same,
 *              or { "fault": "malformed" } where decoding must end so
 * In frames, bytes are {"$hex": "00ff"}, 64-bit integers {"$int": "1"}, maps {"$map": [[key, value], …]}.
 */
export interface Golden {
  readonly name: string
  readonly bytes: Buffer
  readonly said: unknown
}

export interface GoldenOptions<Frame> {
  /** What of a frame is compared. Default: the frame itself. */
  readonly view?: (frame: Frame) => unknown
}

/** One check a file pair. @throws when the directory has none, or a file lacks its partner */
export const goldenFrames = <Frame>(
  directory: string,
  codec: Codec<Frame>,
  { view = (frame) => frame }: GoldenOptions<Frame> = {},
): readonly Check[] =>
  readGolden(directory).map(({ name, bytes, said }) => ({
    name,
    async run() {
      const { frames, exact, fault } = expectation(said)
      const seen: Frame[] = []
      const decode = () => codec.decoder().decode(bytes, (frame) => seen.push(frame))
      if (fault !== undefined) {
        assert.throws(decode, (error) => Fault.is(error) && error.code === fault)
        return
      }
      decode()
      assert.deepEqual(
        seen.map((frame) => plain(view(frame))),
        frames,
      )
      const again = encodeAll(codec, seen)
      if (exact) assert.equal(again.toString('hex'), bytes.toString('hex'))
      const reread: Frame[] = []
      codec.decoder().decode(again, (frame) => reread.push(frame))
      assert.deepEqual(
        reread.map((frame) => plain(view(frame))),
        frames,
      )
    },
  }))

export const readGolden = (directory: string): readonly Golden[] => {
  const files = readdirSync(directory)
  const names = files.filter((file) => file.endsWith('.hex')).map((file) => file.slice(0, -4))
  assert.ok(names.length > 0, `no golden frames in ${directory}`)
  return names.sort().map((name) => {
    assert.ok(files.includes(`${name}.json`), `${name}.hex has no ${name}.json`)
    const text = readFileSync(join(directory, `${name}.hex`), 'utf8')
    assert.match(text, /^# \S/, `${name}.hex does not say in its first line where it is from`)
    const hex = text.replace(/^#.*$/gm, '').replace(/\s/g, '')
    assert.match(hex, /^([\da-fA-F]{2})+$/, `${name}.hex is not hex`)
    const said: unknown = JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8'))
    return { name, bytes: Buffer.from(hex, 'hex'), said }
  })
}

/** Frames as the text of a golden JSON file. */
export const printFrames = (frames: readonly unknown[]): string => `${JSON.stringify(frames.map(plain), null, 2)}\n`

/** A value as JSON can say it: see {@link Golden}. Undefined members are left out. */
export const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return { $hex: Buffer.from(value).toString('hex') }
  if (typeof value === 'bigint') return { $int: String(value) }
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Map) return { $map: [...value].map(([key, member]) => [plain(key), plain(member)]) }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).filter(([, member]) => member !== undefined && typeof member !== 'function')
  return Object.fromEntries(members.map(([key, member]) => [key, plain(member)]))
}

export const encodeAll = <Frame>(codec: Codec<Frame>, frames: readonly Frame[]): Buffer =>
  Buffer.concat(
    frames.flatMap((frame) => {
      const encoded = codec.encode(frame)
      return Buffer.isBuffer(encoded) ? [encoded] : [...encoded]
    }),
  )

const expectation = (said: unknown): { frames: unknown; exact: boolean; fault: string | undefined } => {
  if (Array.isArray(said)) return { frames: said, exact: true, fault: undefined }
  const { frames, exact = true, fault } = said as { frames?: unknown; exact?: boolean; fault?: string }
  return { frames, exact, fault }
}

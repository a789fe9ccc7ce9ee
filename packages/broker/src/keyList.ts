import { crc32 } from 'node:zlib'
import type { OpenFile } from './files.ts'

/** Of a key of a topic; two keys may have the same: what is found is looked at. */
export const hashKey = (topic: string, key: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < topic.length; at++) hash = Math.imul(hash ^ topic.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ 0xff, 0x01000193)
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

const FIRST = 256

/** Which keys the messages of one segment have, in their order: 8 bytes a key. */
export class KeyList {
  /** Of the segment. */
  readonly start: number
  /** Keys of messages below this place are not here. */
  from: number
  /** Pairs of hash and place − start. */
  #words = new Uint32Array(FIRST * 2)
  #used = 0

  constructor(start: number, from: number) {
    this.start = start
    this.from = from
  }

  get words(): Uint32Array {
    return this.#words.subarray(0, this.#used)
  }

  add(hash: number, place: number): void {
    if (this.#used === this.#words.length) {
      const words = new Uint32Array(this.#used * 2)
      words.set(this.#words)
      this.#words = words
    }
    this.#words[this.#used++] = hash
    this.#words[this.#used++] = place - this.start
  }

  /** What lies before it. */
  complete(older: KeyList): void {
    const words = new Uint32Array(older.words.length + this.#used + FIRST * 2)
    words.set(older.words)
    words.set(this.words, older.words.length)
    this.#words = words
    this.#used += older.words.length
    this.from = older.from
  }

  /** The newest first. */
  find(hash: number): number[] {
    return placesIn(this.words, this.start, hash)
  }
}

const placesIn = (words: Uint32Array, start: number, hash: number): number[] => {
  const places: number[] = []
  for (let at = words.length - 2; at >= 0; at -= 2) if (words[at] === hash) places.push(start + words[at + 1]!)
  return places
}

/**
 * A list as a file that is looked up without being read:
 *   u32 KEYS · u32 version · u32 buckets, a power of two · u32 pairs · u32 end of each bucket, in pairs ·
 *   u32 CRC-32 of each bucket · u32 CRC-32 of all before · pairs (u32 hash, u32 place − start), little-endian,
 *   by bucket (hash modulo buckets) and in it by place
 */
const KEYS = 0x534c4b59 // "SLKY"
const VERSION = 1
const HEAD = 16
const PAIR = 8
/** Pairs of a bucket, about. */
const PAIRS = 32

const headBytes = (buckets: number): number => HEAD + buckets * 8 + 4

export const writeKeys = ({ words }: KeyList): Buffer => {
  const pairs = words.length / 2
  const buckets = 2 ** Math.max(0, Math.ceil(Math.log2(pairs / PAIRS)))
  const next = new Uint32Array(buckets + 1)
  for (let at = 0; at < words.length; at += 2) next[(words[at]! & (buckets - 1)) + 1]!++
  for (let bucket = 1; bucket <= buckets; bucket++) next[bucket]! += next[bucket - 1]!
  const head = headBytes(buckets)
  const bytes = Buffer.alloc(head + pairs * PAIR)
  for (let at = 0; at < words.length; at += 2) {
    const to = head + next[words[at]! & (buckets - 1)]!++ * PAIR
    bytes.writeUInt32LE(words[at]!, to)
    bytes.writeUInt32LE(words[at + 1]!, to + 4)
  }
  bytes.writeUInt32BE(KEYS, 0)
  bytes.writeUInt32BE(VERSION, 4)
  bytes.writeUInt32BE(buckets, 8)
  bytes.writeUInt32BE(pairs, 12)
  // Each bucket was filled up to where the next one begins.
  for (let bucket = 0, from = 0; bucket < buckets; bucket++) {
    const to = next[bucket]!
    bytes.writeUInt32BE(to, HEAD + bucket * 4)
    bytes.writeUInt32BE(crc32(bytes.subarray(head + from * PAIR, head + to * PAIR)), HEAD + (buckets + bucket) * 4)
    from = to
  }
  bytes.writeUInt32BE(crc32(bytes.subarray(0, head - 4)), head - 4)
  return bytes
}

/** The places of a hash in such a file, the newest first; undefined: it is damaged. */
export const findKeys = async (file: OpenFile, start: number, hash: number): Promise<number[] | undefined> => {
  const first = await file.read(0, HEAD)
  if (first.length < HEAD || first.readUInt32BE(0) !== KEYS || first.readUInt32BE(4) !== VERSION) return undefined
  const buckets = first.readUInt32BE(8)
  const head = headBytes(buckets)
  if (head > (await file.size())) return undefined
  const bytes = await file.read(0, head)
  if (bytes.length < head || crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(head - 4)) return undefined
  const bucket = hash % buckets
  const from = bucket === 0 ? 0 : bytes.readUInt32BE(HEAD + (bucket - 1) * 4)
  const length = (bytes.readUInt32BE(HEAD + bucket * 4) - from) * PAIR
  const pairs = length === 0 ? Buffer.alloc(0) : await file.read(head + from * PAIR, length)
  if (pairs.length < length || crc32(pairs) !== bytes.readUInt32BE(HEAD + (buckets + bucket) * 4)) return undefined
  const words = Uint32Array.from({ length: length / 4 }, (_, at) => pairs.readUInt32LE(at * 4))
  return placesIn(words, start, hash)
}

import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { effort } from '../test/effort.ts'
import { Fault, type Half, type Lease, type Slot } from './model.ts'
import { createSeal } from './seal.ts'

const key = Buffer.from('0123456789abcdef0123456789abcdef')
const seal = createSeal(key)

const name = fc.string({ unit: 'grapheme', maxLength: 60 })
const offset = fc.maxSafeNat()
const lease: fc.Arbitrary<Lease> = fc.record({
  of: fc.constant('group' as const),
  node: name,
  topic: name,
  group: name,
  queue: fc.nat(),
  offset,
  place: offset,
  first: offset,
  poppedAt: offset,
  invisible: fc.nat(),
  revive: fc.nat(8),
  retry: fc.constantFrom(0 as const, 1 as const, 2 as const),
  attempt: fc.nat(),
})
const half: fc.Arbitrary<Half> = fc.record({ node: name, topic: name, group: name, id: name, place: offset, offset })

const example: Lease = fc.sample(lease, { seed: 7, numRuns: 1 })[0]!
const refusal = (open: () => unknown) => {
  try {
    open()
    return 'opened'
  } catch (error) {
    return Fault.is(error) ? `${error.code} ${error.about}` : String(error)
  }
}

describe('seal', () => {
  it('is the HMAC of what it covers, whatever the length of the key', () => {
    for (const length of [16, 32, 63, 64, 65, 200]) {
      const secret = Buffer.alloc(length, 0xa5 ^ length)
      fc.assert(
        fc.property(lease, (one) => {
          const bytes = Buffer.from(createSeal(secret).lease(one), 'base64url')
          const code = createHmac('sha256', secret).update(bytes.subarray(0, -16)).digest().subarray(0, 16)
          expect(bytes.subarray(-16)).toEqual(code)
        }),
        { numRuns: 200 },
      )
    }
  })

  it('opens what it sealed, and any process with the key does', () => {
    const elsewhere = createSeal(Buffer.from(key))
    fc.assert(
      fc.property(lease, half, (one, two) => {
        expect(elsewhere.openLease(seal.lease(one))).toEqual(one)
        expect(elsewhere.openHalf(seal.half(two))).toEqual(two)
      }),
      { numRuns: 1_000 },
    )
  })

  it('opens slots and recalls by their own kinds only', () => {
    const slot: fc.Arbitrary<Slot> = fc.record({
      of: fc.constant('inbox' as const),
      node: name,
      inbox: name,
      epoch: offset,
      way: fc.constant('out' as const),
      slot: fc.nat(65_535),
    })
    fc.assert(
      fc.property(slot, lease, fc.record({ topic: name, handle: name }), (one, two, three) => {
        expect(seal.openReceipt(seal.slot(one))).toEqual(one)
        expect(seal.openReceipt(seal.lease(two))).toEqual(two)
        expect(seal.openRecall(seal.recall(three))).toEqual(three)
        expect(refusal(() => seal.openReceipt(seal.recall(three)))).toBe('receiptExpired receipt')
        expect(refusal(() => seal.openLease(seal.slot(one)))).toBe('receiptExpired receipt')
        expect(refusal(() => seal.openRecall(seal.lease(two)))).toBe('receiptExpired receipt')
      }),
      { numRuns: 500 },
    )
  })

  it('is text for a URL, a header or a property', () => {
    fc.assert(
      fc.property(lease, (one) => {
        expect(seal.lease(one)).toMatch(/^[\w-]+$/)
      }),
      { numRuns: 100 },
    )
  })

  it('refuses any change of any byte', () => {
    const bytes = Buffer.from(seal.lease(example), 'base64url')
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [0x01, 0x80]) {
        const changed = Buffer.from(bytes)
        changed[at]! ^= flip
        expect(refusal(() => seal.openLease(changed.toString('base64url')))).toBe('receiptExpired receipt')
      }
    }
  })

  it('refuses any shortening, and anything appended', () => {
    const text = seal.lease(example)
    for (let length = 0; length < text.length; length++)
      expect(refusal(() => seal.openLease(text.slice(0, length)))).toBe('receiptExpired receipt')
    for (const more of ['A', 'AA', 'AAAA', '=', ' ', '\n'])
      expect(refusal(() => seal.openLease(text + more))).toBe('receiptExpired receipt')
  })

  it('refuses other texts that mean the same bytes to a lenient decoder', () => {
    const lenient = (text: string) => Buffer.from(text, 'base64url')
    const texts = fc.sample(lease, { seed: 9, numRuns: 30 }).map((one) => seal.lease(one))
    let aliases = 0
    for (const text of texts) {
      const candidates = [
        text.replaceAll('-', '+').replaceAll('_', '/'),
        `${text}=`,
        `${text}==`,
        ` ${text}`,
        `${text.slice(0, 10)}\n${text.slice(10)}`,
        // The last character carries bits that are thrown away.
        ...[...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map(
          (last) => text.slice(0, -1) + last,
        ),
      ]
      for (const candidate of candidates) {
        if (candidate === text || !lenient(candidate).equals(lenient(text))) continue
        aliases++
        expect(refusal(() => seal.openLease(candidate))).toBe('receiptExpired receipt')
      }
    }
    expect(aliases).toBeGreaterThan(100)
  })

  it('refuses another key, and a half for a lease', () => {
    const other = createSeal(Buffer.from('another key of the same length..'))
    expect(refusal(() => other.openLease(seal.lease(example)))).toBe('receiptExpired receipt')
    const [one] = fc.sample(half, { seed: 3, numRuns: 1 })
    expect(refusal(() => seal.openLease(seal.half(one!)))).toBe('receiptExpired receipt')
    expect(refusal(() => seal.openHalf(seal.lease(example)))).toBe('receiptExpired receipt')
  })

  it('refuses anything at all with the same fault', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: 'binary' })), (text) => {
        expect(refusal(() => seal.openLease(text))).toBe('receiptExpired receipt')
        expect(refusal(() => seal.openHalf(text))).toBe('receiptExpired receipt')
      }),
      { numRuns: 2_000 },
    )
  })

  it('does not look at megabytes', async () => {
    const long = 'A'.repeat(50_000_000)
    const spent = await effort(() => {
      for (let round = 0; round < 100; round++) refusal(() => seal.openLease(long))
    })
    expect(refusal(() => seal.openLease(long))).toBe('receiptExpired receipt')
    expect(spent).toBeLessThan(200)
  })

  it('seals names of 255 bytes each, and refuses what it could not open again', () => {
    const long = 'x'.repeat(255)
    const one = { ...example, node: long, topic: long, group: long }
    expect(seal.openLease(seal.lease(one))).toEqual(one)
    expect(refusal(() => seal.lease({ ...one, topic: 'x'.repeat(1_000) }))).toBe('tooLarge receipt')
    expect(refusal(() => seal.lease({ ...one, topic: 'x'.repeat(100_000) }))).toBe('tooLarge receipt')
  })

  it('wants a key of at least 16 bytes', () => {
    expect(refusal(() => createSeal(Buffer.alloc(15)))).toBe('invalid undefined')
  })
})

import { faultOf } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { INQUIRIES_MAX, Inquiries } from './inquiries.ts'
import { recallHandleIn, recallHandleOf } from './recall.ts'
import { HALVES_MAX, Halves, ParkedPops } from './shared.ts'

const frame = { code: 0, language: 'JAVA', version: 1, flag: 1, ext: {}, binary: false }

describe('questions to a client', () => {
  it('are bounded, and end with an answer, with their time or with the connection', async () => {
    let now = 0
    const inquiries = new Inquiries(() => now)
    const sent: number[] = []
    const asked = Array.from({ length: INQUIRIES_MAX }, () => inquiries.ask((opaque) => void sent.push(opaque)))
    const ends = asked.map((one) => one.catch((error: unknown) => error))
    expect((await faultOf(() => inquiries.ask(() => undefined))).code).toBe('limit')
    inquiries.answered({ ...frame, opaque: sent[0] ?? -1 })
    inquiries.answered({ ...frame, opaque: sent[0] ?? -1 })
    expect(await asked[0]).toMatchObject({ opaque: sent[0] })
    expect(inquiries.size).toBe(INQUIRIES_MAX - 1)
    now = 10_000
    inquiries.tick(now)
    expect(await ends[1]).toMatchObject({ code: 'outcomeUnknown' })
    const last = inquiries.ask(() => undefined)
    inquiries.close()
    expect((await faultOf(() => last)).code).toBe('unavailable')
    expect(inquiries.size).toBe(0)
  })
})

describe('what connections have in common', () => {
  it('remembers the newest half messages, until they are decided', () => {
    const halves = new Halves()
    const half = (place: number) => ({ node: 'n', topic: 'T', group: 'G', id: 'I', place, offset: 0 })
    for (let place = 0; place <= HALVES_MAX; place++) halves.add(half(place))
    expect(halves.size).toBe(HALVES_MAX)
    expect(halves.find('G', 0)).toBeUndefined()
    expect(halves.find('other', 5)).toBeUndefined()
    halves.delete(half(5))
    expect([halves.find('G', 5), halves.find('G', 6)]).toEqual([undefined, half(6)])
  })

  it('counts pops that wait', () => {
    const parked = new ParkedPops()
    const pop = { topic: 'T', group: 'G', queue: -1 }
    parked.add(pop)
    parked.add(pop)
    parked.delete(pop)
    expect([parked.count('T', 'G', -1), parked.count('T', 'G', 0)]).toEqual([1, 0])
    parked.delete(pop)
    expect(parked.count('T', 'G', -1)).toBe(0)
  })
})

it('a recall handle is what clients can read, and brings back what the broker gave', async () => {
  const queue = { topic: 'T', node: 'n', index: 0 }
  const handle = recallHandleOf('T', { id: 'ID', queue, offset: 0, place: 0, recallHandle: 'any thing' })
  expect(Buffer.from(handle, 'base64url').toString()).toMatch(/^v1 T sluice 0 ID /)
  expect(recallHandleIn(handle, 'T')).toBe('any thing')
  expect((await faultOf(() => recallHandleIn(handle, 'other'))).code).toBe('conflict')
})

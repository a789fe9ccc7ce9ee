import { encodeFrame, type Frame, offsetMsgId } from '@sluice/remoting'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SendAnswers } from './sendAnswers.ts'

interface Said {
  readonly opaque: number
  readonly id: string
  readonly queue: number
  readonly offset: number
  readonly place: number
  readonly store: Buffer
}

const stores = [Buffer.from('7f00000100001f91', 'hex'), Buffer.from(`${'0'.repeat(30)}0100001f91`, 'hex')] as const

const frameOf = ({ opaque, id, queue, offset, place, store }: Said): Frame => ({
  code: 0,
  language: 'JAVA',
  version: 479,
  opaque,
  flag: 1,
  ext: {
    msgId: offsetMsgId(store, place),
    queueId: String(queue),
    queueOffset: String(offset),
    transactionId: id,
    MSG_REGION: 'DefaultRegion',
    TRACE_ON: 'false',
  },
  binary: false,
})

const number = (max: number) => fc.oneof(fc.nat(9), fc.nat(101), fc.integer({ min: 0, max }))
const said: fc.Arbitrary<Said> = fc.record({
  opaque: fc.oneof(number(2 ** 31 - 1), fc.constant(-1)),
  id: fc.oneof(
    fc.nat(15).map((digit) => `7F${digit}`),
    fc.string({ maxLength: 4 }),
    fc.constant('x'.repeat(300)),
  ),
  queue: fc.nat(11),
  offset: number(Number.MAX_SAFE_INTEGER),
  place: number(Number.MAX_SAFE_INTEGER),
  store: fc.constantFrom(...stores),
})

it('are what the same answers are one by one, in their order', () => {
  const answers = new SendAnswers()
  fc.assert(
    fc.property(fc.array(said, { maxLength: 12 }), (all) => {
      const expected: Buffer[] = []
      for (const one of all) {
        const { opaque, queue, store } = one
        if (answers.add(opaque, { ...one, queue: { topic: 'T', node: 'n', index: queue } }, queue, store))
          expected.push(encodeFrame(frameOf(one)) as Buffer)
        else expect(opaque < 0 || one.id.length > 256 || JSON.stringify(one.id) !== `"${one.id}"`).toBe(true)
      }
      expect(String(answers.take() ?? '')).toBe(String(Buffer.concat(expected)))
    }),
    { numRuns: Number(process.env.SLUICE_RUNS ?? 2_000) },
  )
})

it('are as many as there is room for', () => {
  const answers = new SendAnswers()
  const stored = { id: 'ID', queue: { topic: 'T', node: 'n', index: 0 }, offset: 1, place: 2 }
  let count = 0
  while (answers.add(count, stored, 0, stores[0])) count++
  expect([answers.full, count > 256]).toEqual([true, true])
  expect(answers.take()?.length).toBeGreaterThan(100_000)
  expect([answers.full, answers.take()]).toEqual([false, undefined])
})

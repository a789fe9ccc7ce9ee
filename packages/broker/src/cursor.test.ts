import { describe, expect, it } from 'vitest'
import { Cursor } from './cursor.ts'

const fields = (offset: number, poppedAt: number, invisible = 100) => ({
  offset,
  poppedAt,
  invisible,
  attempt: 1,
  next: 2,
  session: undefined,
})

describe('cursor', () => {
  it('is settled up to the lowest message that is held', () => {
    const cursor = new Cursor()
    expect(cursor.floor).toBe(-1)
    cursor.next = 5
    for (const offset of [2, 3, 4]) cursor.hold(fields(offset, 0))
    expect(cursor.floor).toBe(2)
    cursor.settle(3)
    expect(cursor.floor).toBe(2)
    cursor.settle(2)
    expect(cursor.floor).toBe(4)
    cursor.settle(4)
    expect(cursor.floor).toBe(5)
  })

  it('gives back what is due, soonest first, and forgets what was moved or settled', () => {
    const cursor = new Cursor()
    cursor.next = 10
    const late = cursor.hold(fields(1, 0, 300))
    const soon = cursor.hold(fields(2, 0, 100))
    const moved = cursor.hold(fields(3, 0, 50))
    cursor.move(moved, { ...fields(3, 10, 500), next: 2 })
    expect([cursor.nextDue, cursor.dueBy(99), cursor.dueBy(100)]).toEqual([100, undefined, soon])
    cursor.settle(2)
    expect(cursor.dueBy(299)).toBeUndefined()
    expect(cursor.dueBy(300)).toBe(late)
    cursor.die(late)
    expect(cursor.nextDue).toBe(510)
  })

  it('does not grow with messages that are renewed again and again', () => {
    const cursor = new Cursor()
    cursor.next = 10
    const held = cursor.hold(fields(1, 0))
    for (let at = 1; at < 10_000; at++) cursor.move(held, fields(1, at))
    expect(cursor.waiting).toBeLessThan(100)
  })

  it('takes a commit as its floor and a reset as its place', () => {
    const cursor = new Cursor()
    cursor.next = 4
    for (const offset of [1, 2, 3]) cursor.hold(fields(offset, 0))
    cursor.commit(3)
    expect([[...cursor.held.keys()], cursor.next, cursor.floor]).toEqual([[3], 4, 3])
    cursor.commit(9)
    expect([[...cursor.held.keys()], cursor.next]).toEqual([[], 9])
    cursor.hold(fields(9, 0))
    cursor.next = 10
    cursor.reset(2)
    expect([cursor.held.size, cursor.next, cursor.floor, cursor.nextDue]).toEqual([0, 2, 2, Number.POSITIVE_INFINITY])
  })
})

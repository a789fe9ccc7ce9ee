import type { Delivered, EpochMs, Lease } from '@sluice/core'
import { response, restamp } from '@sluice/remoting'
import { checkpointOf } from './checkpoint.ts'
import type { Answer } from './desk.ts'

/** A popped message as it goes to its client. */
export interface Popped {
  readonly record: Buffer
  readonly lease: Lease
  readonly attempt: number
  /** Its queue as clients number them. */
  readonly queue: number
}

const header = (poppedAt: EpochMs, invisible: number, revive: number, rest: number): Record<string, string> => ({
  popTime: String(poppedAt),
  invisibleTime: String(invisible),
  reviveQid: String(revive),
  restNum: String(rest),
})

/** Clients read these whatever the code. */
export const nothingPopped = (code: number): Answer => ({ code, ext: header(0, 0, 0, 0) })

/**
 * Each record brings its receipt. A record that has no room for it gets one that its client makes of the header, so
 * the header is that record's.
 */
export const toPopAnswer = (popped: readonly Popped[], more: boolean, fifo: boolean): Answer => {
  const parts: Buffer[] = []
  let say = popped[0] as Popped
  for (const one of popped) {
    const properties = `POP_CK\x01${checkpointOf(one.lease, one.queue)}\x02`
    const stamped = restamp(one.record, { queue: one.queue, reconsumeTimes: one.attempt - 1, properties })
    if (stamped.full) say = one
    parts.push(...stamped.parts)
  }
  const { poppedAt, invisible, revive } = say.lease
  const ext = header(poppedAt, invisible, revive, more ? 1 : 0)
  Object.assign(ext, offsetInfo(popped))
  if (fifo) ext.orderCountInfo = orderCounts(popped)
  return { code: response.success, ext, parts }
}

/**
 * startOffsetInfo = retry queue first; … · msgOffsetInfo = retry queue offset,offset…; …
 * A pair of retry and queue stands once in each, with the offsets in the order of their records: anything else costs
 * the client the whole batch.
 */
const offsetInfo = (popped: readonly Popped[]): { startOffsetInfo: string; msgOffsetInfo: string } => {
  const firsts = new Map<string, number>()
  const offsets = new Map<string, number[]>()
  for (const { lease, queue } of popped) {
    const key = `${lease.retry} ${queue}`
    firsts.set(key, Math.min(lease.first, firsts.get(key) ?? lease.first))
    const known = offsets.get(key)
    if (known) known.push(lease.offset)
    else offsets.set(key, [lease.offset])
  }
  return {
    startOffsetInfo: [...firsts].map(([key, first]) => `${key} ${first}`).join(';'),
    msgOffsetInfo: [...offsets].map(([key, list]) => `${key} ${list.join()}`).join(';'),
  }
}

const orderCounts = (popped: readonly Popped[]): string =>
  popped
    .filter(({ attempt }) => attempt > 1)
    .map(({ lease, queue, attempt }) => `${lease.retry} qo${queue}%${lease.offset} ${attempt - 1}`)
    .join(';')

/** Of what was popped, which may go in one frame; the first always. */
export const fitting = (popped: readonly Delivered[], sizeOf: (one: Delivered) => number, most: number): number => {
  let bytes = 0
  let count = 0
  for (const one of popped) {
    bytes += sizeOf(one)
    if (count > 0 && bytes > most) break
    count++
  }
  return count
}

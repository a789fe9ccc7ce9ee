import { Fault, type Lease } from '@sluice/core'
import { type Ext, integer, text } from './fields.ts'
import { BROKER } from './routes.ts'
import { RETRY } from './translate.ts'

/**
 * The receipt of a popped message, POP_CK among its properties and `extraInfo` of what settles it. Eight fields with a
 * blank between them: first offset of its pop · popped at (ms) · invisible (ms) · revive queue · retry topic 0|1|2 ·
 * broker · queue · offset. A client reads the last four; whether the message is held is looked up by the broker.
 * Source: apache/rocketmq ExtraInfoUtil.java
 */
export const checkpointOf = (lease: Lease, queue: number): string =>
  `${lease.first} ${lease.poppedAt} ${lease.invisible} ${lease.revive} ${lease.retry} ${BROKER} ${queue} ${lease.offset}`

/** A lease whose queue is a number as clients know it. */
export interface Checkpoint {
  readonly lease: Omit<Lease, 'node' | 'queue'>
  readonly queue: number
}

const FIELDS = 8
/** From an older form the offset is missing; the request says it too. */
const LEAST_FIELDS = 7

/** Of ACK_MESSAGE (200051) and CHANGE_MESSAGE_INVISIBLETIME (200053). @throws Fault 'malformed' */
export const checkpointIn = (ext: Ext): Checkpoint => {
  const group = text(ext, 'consumerGroup')
  const topic = text(ext, 'topic')
  integer(ext, 'queueId')
  const offset = integer(ext, 'offset')
  const fields = text(ext, 'extraInfo').split(' ')
  if (fields.length !== FIELDS && fields.length !== LEAST_FIELDS)
    throw new Fault('malformed', `field extraInfo has ${fields.length} parts and not ${FIELDS}`, { about: 'receipt' })
  const [first, poppedAt, invisible, revive, retry, , queue] = fields.map(Number)
  const whole = [first, poppedAt, invisible, revive, queue].every(Number.isSafeInteger)
  if (!whole || (poppedAt as number) <= 0 || !isRetry(retry))
    throw new Fault('malformed', 'field extraInfo is no receipt', { about: 'receipt' })
  return {
    lease: {
      of: 'group',
      topic: originalTopic(topic, group, retry),
      group,
      offset,
      place: -1,
      first: first as number,
      poppedAt: poppedAt as number,
      invisible: invisible as number,
      revive: revive as number,
      retry,
      attempt: 0,
    },
    queue: queue as number,
  }
}

export const isRetry = (mark: unknown): mark is Lease['retry'] => mark === 0 || mark === 1 || mark === 2

/** A message from a retry topic is settled under that topic's name, which holds group and topic. */
export const originalTopic = (topic: string, group: string, retry: Lease['retry']): string => {
  const prefix = `${RETRY}${group}${retry === 2 ? '+' : '_'}`
  return retry > 0 && topic.startsWith(prefix) ? topic.slice(prefix.length) : topic
}

import { Fault, type Filter, type Limits, type Ms } from '@sluice/core'
import type { Frame } from '@sluice/remoting'
import { type Ext, integer, text } from './fields.ts'
import { filterOf } from './membership.ts'
import { SUSPEND_MAX } from './translate.ts'

/** Messages of one pop. */
export const POP_MAX = 32

export interface Pop {
  readonly group: string
  readonly topic: string
  /** The number of a queue; negative: any. */
  readonly queue: number
  readonly max: number
  readonly invisible: Ms
  /** 0: answer at once. */
  readonly wait: Ms
  /** Undefined: what the heartbeat said. */
  readonly filter: Filter | undefined
  readonly fifo: boolean
  readonly attemptId: string | undefined
}

/** POP_MESSAGE (200050). When it was made is not looked at: clocks differ. @throws Fault 'malformed', 'invalid' */
export const toPop = ({ ext }: Frame, limits: Pick<Limits, 'pollMs'>): Pop => {
  const max = integer(ext, 'maxMsgNums')
  if (max < 1 || max > POP_MAX) throw new Fault('invalid', `field maxMsgNums is not from 1 to ${POP_MAX}`)
  const invisible = integer(ext, 'invisibleTime')
  if (invisible < 1) throw new Fault('invalid', 'field invisibleTime is not above 0')
  return {
    ...polled(ext, limits),
    max,
    invisible,
    filter: ext.exp === undefined ? undefined : filterOf(ext.expType, ext.exp),
    fifo: ext.order === 'true',
    attemptId: ext.attemptId || undefined,
  }
}

/** NOTIFICATION (200054): whether there is something; takes nothing. @throws Fault 'malformed' */
export const toNotification = ({ ext }: Frame, limits: Pick<Limits, 'pollMs'>): Pop => ({
  ...polled(ext, limits),
  max: 0,
  invisible: 0,
  filter: undefined,
  fifo: ext.order === 'true',
  attemptId: ext.attemptId || undefined,
})

const polled = (ext: Ext, { pollMs }: Pick<Limits, 'pollMs'>) => ({
  group: text(ext, 'consumerGroup'),
  topic: text(ext, 'topic'),
  queue: integer(ext, 'queueId'),
  wait: Math.max(0, Math.min(integer(ext, 'pollTime'), SUSPEND_MAX, pollMs)),
})

import { Fault, type Stored } from '@sluice/core'
import { BROKER } from './routes.ts'

/**
 * A recall handle as clients want it: base64url of `v1 topic broker time id`. They read the broker; behind what they
 * read stands the broker's own.
 * Source: apache/rocketmq RecallMessageHandle.java
 */
export const recallHandleOf = (topic: string, { id, recallHandle = '' }: Stored): string =>
  Buffer.from(`v1 ${topic} ${BROKER} 0 ${id} ${Buffer.from(recallHandle).toString('base64url')}`).toString('base64url')

/** @throws Fault 'conflict': ILLEGAL_OPERATION is what clients hear of such a handle */
export const recallHandleIn = (text: string, topic: string): string => {
  const [version, of, broker, , , own] = Buffer.from(text, 'base64url').toString().split(' ')
  const bad = version !== 'v1' || of !== topic || broker !== BROKER || !own
  if (bad) throw new Fault('conflict', 'field recallHandle is none of this topic')
  return Buffer.from(own, 'base64url').toString()
}

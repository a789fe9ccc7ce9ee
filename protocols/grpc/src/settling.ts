import { Fault, type Outcome, type Receipt } from '@sluice/core'
import { type Asker, contextOf, type Hall, type Unary } from './calls.ts'
import { ok, statusOf, statusOfAll } from './faults.ts'
import { checkInvisible, sealed } from './translate.ts'
import type { AckMessageRequest, ChangeInvisibleDurationRequest, ForwardToDeadLetterRequest, Status } from './wire.ts'

/** One command for all handles that are ours; answers in the order of the entries. */
export const ackMessage: Unary<AckMessageRequest> = async (request, asker, hall) => {
  const results: Status[] = []
  const known: { readonly at: number; readonly receipt: Receipt }[] = []
  request.entries.forEach(({ receipt_handle }, at) => {
    try {
      known.push({ at, receipt: hall.gateway.seal.openReceipt(receipt_handle ?? '') })
      results.push(ok)
    } catch (error) {
      results.push(statusOf(error))
    }
  })
  if (known.length > 0) {
    const receipts = known.map(({ receipt }) => receipt)
    const { failed } = await hall.gateway.handle(
      { kind: 'settle', receipts, outcome: { kind: 'accept' } },
      contextOf(asker, hall),
    )
    for (const { at, fault } of failed) results[known[at]!.at] = statusOf(fault)
  }
  const entries = request.entries.map(({ message_id, receipt_handle }, at) => ({
    message_id: message_id ?? '',
    receipt_handle: receipt_handle ?? '',
    status: results[at] as Status,
  }))
  if (entries.length === 0) throw new Fault('invalid', 'no entries')
  return { status: statusOfAll(entries), entries }
}

/** @throws Fault of its one receipt */
const settleOne = async (handle: string | undefined, outcome: Outcome, asker: Asker, hall: Hall) => {
  const receipt = hall.gateway.seal.openReceipt(handle ?? '')
  const { failed, renewed } = await hall.gateway.handle(
    { kind: 'settle', receipts: [receipt], outcome },
    contextOf(asker, hall),
  )
  if (failed[0]) throw failed[0].fault
  return renewed?.[0]
}

/** A simple consumer keeps the handle of the answer even when it is a refusal: it always gets one that may still work. */
export const changeInvisibleDuration: Unary<ChangeInvisibleDurationRequest> = async (request, asker, hall) => {
  const { receipt_handle = '', suspend } = request
  try {
    const after = checkInvisible(request.invisible_duration, 0)
    const renewed = await settleOne(receipt_handle, { kind: 'retry', after, counts: !suspend }, asker, hall)
    const handle = renewed ? sealed(renewed, hall.gateway.seal) : receipt_handle
    return { status: ok, receipt_handle: handle }
  } catch (error) {
    return { status: hall.refuse(error), receipt_handle }
  }
}

export const forwardToDeadLetter: Unary<ForwardToDeadLetterRequest> = async (request, asker, hall) => {
  await settleOne(request.receipt_handle, { kind: 'dead' }, asker, hall)
  return { status: ok }
}

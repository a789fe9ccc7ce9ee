import { Fault, type Stored } from '@sluice/core'
import { contextOf, type Hall, type Unary } from './calls.ts'
import { ok, statusOfAll, statusOfStored } from './faults.ts'
import { toEnd, toPublish, toRecall } from './translate.ts'
import type { EndTransactionRequest, RecallMessageRequest, SendMessageRequest, SendResultEntry } from './wire.ts'

/** Entries in the order of the messages, which is how Java finds its own; ids come back as they were sent. */
export const sendMessage: Unary<SendMessageRequest> = async (request, asker, hall) => {
  const { gateway } = hall
  const now = gateway.clock.now()
  const publish = toPublish(request, { limits: gateway.limits, now, address: asker.address })
  const { stored } = await gateway.handle(publish, contextOf(asker, hall))
  const entries = publish.messages.map(({ id }, at) => {
    const result = stored[at] ?? new Fault('internal', 'a message without a result')
    const common = { status: statusOfStored(result), message_id: id as string }
    return Fault.is(result)
      ? { ...common, offset: 0 }
      : { ...common, offset: result.offset, ...handlesOf(result, hall) }
  })
  return { status: statusOfAll(entries), entries }
}

/** Half and recall handle as text that any gateway of the cluster opens: nothing is kept here. */
const handlesOf = (stored: Stored, { gateway: { seal } }: Hall): Partial<SendResultEntry> => ({
  ...(stored.half && { transaction_id: seal.half(stored.half) }),
  ...(stored.recallHandle !== undefined && {
    recall_handle: seal.recall({ topic: stored.queue.topic, handle: stored.recallHandle }),
  }),
})

/** An answered check and a client's own word are the same to the client; `unknown` is asked again later. */
export const endTransaction: Unary<EndTransactionRequest> = async (request, asker, hall) => {
  await hall.gateway.handle(toEnd(request, hall.gateway.seal), contextOf(asker, hall))
  return { status: ok }
}

/** @throws Fault 'receiptExpired' about 'handle' for one that is not ours or of another topic, 'notFound' when it was delivered */
export const recallMessage: Unary<RecallMessageRequest> = async (request, asker, hall) => {
  const recall = toRecall(request, hall.gateway.seal)
  const { id } = await hall.gateway.handle(recall, contextOf(asker, hall))
  return { status: ok, message_id: id }
}

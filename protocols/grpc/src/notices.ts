import { Fault, type Gateway, type Notice, type StoredMessage, splitPath } from '@sluice/core'
import type { Client } from './clients.ts'
import { fromDelivered } from './translate.ts'
import type { TelemetryCommand, WireMessage } from './wire.ts'

const asWire = (message: StoredMessage): WireMessage => fromDelivered({ message, attempt: 1 }, { name: message.topic })

/**
 * What the broker or an administrator has to say to a client, by its telemetry stream.
 * @returns for a probe the client's answer: a text, or `{ code, message }` of its status
 * @throws Fault 'unavailable' when the client has no stream here, 'outcomeUnknown' when it does not answer, 'unsupported'
 */
export const told = async (notice: Notice, client: Client, { seal }: Pick<Gateway, 'seal'>): Promise<unknown> => {
  switch (notice.kind) {
    case 'checkTransaction': {
      const { message, half } = notice
      const command = { message: asWire(message), transaction_id: seal.half(half) }
      return client.line.tell({ recover_orphaned_transaction_command: command })
    }
    case 'probe':
      return probe(notice.ask, client)
    case 'unbound':
      return unbound(notice, client)
    case 'goAway':
      // Taken over: its lite inbox was opened by another gateway, where it asks now.
      return notice.reason === 'takenOver' ? undefined : client.sendAway()
    default:
      // Rebalancing and resets concern clients that hold queues; these poll.
      return undefined
  }
}

const probe = async (ask: Extract<Notice, { kind: 'probe' }>['ask'], { line }: Client): Promise<unknown> => {
  if (ask === 'stack') {
    const answer = await line.ask((nonce) => ({ print_thread_stack_trace_command: { nonce } }))
    return answer.thread_stack_trace?.thread_stack_trace ?? ''
  }
  if (ask === 'status') throw new Fault('unsupported', 'gRPC clients have no word for their status')
  const message = asWire(ask.verify)
  const answer = await line.ask((nonce) => ({ verify_message_command: { nonce, message } }))
  return answer.status ?? ({ code: 0, message: 'the client said no status' } satisfies TelemetryCommand['status'])
}

const unbound = ({ pattern }: Extract<Notice, { kind: 'unbound' }>, { line }: Client): void => {
  const { path } = splitPath(pattern)
  if (path !== undefined) line.tell({ notify_unsubscribe_lite_command: { lite_topic: path } })
}

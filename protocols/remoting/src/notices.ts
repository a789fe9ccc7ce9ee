import { Fault, type Notice } from '@sluice/core'
import { type Frame, offsetMsgId, request } from '@sluice/remoting'
import { BROKER } from './routes.ts'

/**
 * What a client is told of its own accord, as requests that want no answer: 40 rebalance, 39 decide a transaction.
 * @returns 'end' where the connection is over
 * @throws Fault 'unsupported' for what this wire has no word for
 */
export const toNotice = (notice: Notice, store: Buffer): Pick<Frame, 'code' | 'ext' | 'body'> | 'end' => {
  switch (notice.kind) {
    case 'rebalance':
      return { code: request.notifyConsumerIdsChanged, ext: { consumerGroup: notice.group } }
    case 'checkTransaction': {
      const { half, message } = notice
      if (!message.record) throw new Fault('unsupported', 'a half message without its record')
      const ext = {
        topic: half.topic,
        tranStateTableOffset: String(half.offset),
        commitLogOffset: String(half.place),
        msgId: half.id,
        transactionId: half.id,
        offsetMsgId: offsetMsgId(store, half.place),
        bname: BROKER,
      }
      return { code: request.checkTransactionState, ext, body: message.record }
    }
    case 'goAway':
      return 'end'
    default:
      throw new Fault('unsupported', `remoting clients are not told of ${notice.kind}`)
  }
}

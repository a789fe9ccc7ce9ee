import { request } from '@sluice/remoting'
import type { Handler, NamedHandler } from './desk.ts'
import { checkConfig, consumerList, heartbeat, lock, unlock, unregister } from './requests/clients.ts'
import {
  earliestStoreTime,
  maxOffset,
  minOffset,
  queryConsumerOffset,
  searchOffset,
  updateConsumerOffset,
} from './requests/offsets.ts'
import { ack, assignment, batchAck, changeInvisible, peek, pollingInfo, setRequestMode } from './requests/pop.ts'
import { clusterInfo, routeInfo, topicList } from './requests/routes.ts'
import { send } from './requests/send.ts'
import { endTransaction, sendBack } from './requests/settle.ts'

/** By request code. Pulls are not here: they may wait (`pulls.ts`). */
export const handlers: Readonly<Record<number, Handler>> = {
  [request.sendMessage]: send,
  [request.sendMessageV2]: send,
  [request.sendBatchMessage]: send,
  [request.queryConsumerOffset]: queryConsumerOffset,
  [request.updateConsumerOffset]: updateConsumerOffset,
  [request.searchOffsetByTimestamp]: searchOffset,
  [request.getMaxOffset]: maxOffset,
  [request.getMinOffset]: minOffset,
  [request.getEarliestMsgStoreTime]: earliestStoreTime,
  [request.consumerSendMsgBack]: sendBack,
  [request.endTransaction]: endTransaction,
  [request.getConsumerListByGroup]: consumerList,
  [request.checkClientConfig]: checkConfig,
  [request.getRouteInfoByTopic]: routeInfo,
  [request.getBrokerClusterInfo]: clusterInfo,
  [request.getAllTopicListFromNameServer]: topicList,
  [request.setMessageRequestMode]: setRequestMode,
  [request.ackMessage]: ack,
  [request.batchAckMessage]: batchAck,
  [request.changeMessageInvisibleTime]: changeInvisible,
  [request.peekMessage]: peek,
  [request.pollingInfo]: pollingInfo,
}

/** Those that name their client, who may be another than the connection's so far. */
export const namedHandlers: Readonly<Record<number, NamedHandler>> = {
  [request.heartBeat]: heartbeat,
  [request.unregisterClient]: unregister,
  [request.lockBatchMq]: lock,
  [request.unlockBatchMq]: unlock,
  [request.queryAssignment]: assignment,
}

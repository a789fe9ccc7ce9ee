import { request } from '@sluice/remoting'
import type { Handler, NamedHandler } from './desk.ts'
import { brokerConfig, consumeDirectly, noConfig, runningInfo, runtimeInfo } from './requests/clientAdmin.ts'
import { checkConfig, consumerList, heartbeat, lock, unlock, unregister } from './requests/clients.ts'
import {
  consumerConnections,
  consumersOfTopic,
  consumeStats,
  deleteGroup,
  groupConfig,
  groupConfigs,
  producerConnections,
  putGroup,
  resetOffset,
  subscriptionOfConsumer,
  topicsOfConsumer,
} from './requests/groupAdmin.ts'
import { queryMessage, recall, viewMessage } from './requests/lookup.ts'
import {
  earliestStoreTime,
  maxOffset,
  minOffset,
  queryConsumerOffset,
  searchOffset,
  updateConsumerOffset,
} from './requests/offsets.ts'
import { ack, assignment, batchAck, changeInvisible, peek, pollingInfo, setRequestMode } from './requests/pop.ts'
import { sendReply } from './requests/reply.ts'
import { clusterInfo, routeInfo } from './requests/routes.ts'
import { endTransaction, sendBack } from './requests/settle.ts'
import {
  deleteRoute,
  deleteTopic,
  putTopic,
  topicConfig,
  topicConfigs,
  topicList,
  topicStats,
} from './requests/topicAdmin.ts'

/** By request code. Sends are not here, which are stored together (`sends.ts`), and neither is what may wait (`pulls.ts`, `pops.ts`). */
export const handlers: Readonly<Record<number, Handler>> = {
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
  [request.getTopicsByCluster]: topicList,
  [request.sendReplyMessage]: sendReply,
  [request.sendReplyMessageV2]: sendReply,
  [request.queryMessage]: queryMessage,
  [request.viewMessageById]: viewMessage,
  [request.recallMessage]: recall,
  [request.updateAndCreateTopic]: putTopic,
  [request.deleteTopicInBroker]: deleteTopic,
  [request.deleteTopicInNameServer]: deleteRoute,
  [request.getAllTopicConfig]: topicConfigs,
  [request.getTopicConfig]: topicConfig,
  [request.getTopicStatsInfo]: topicStats,
  [request.updateAndCreateSubscriptionGroup]: putGroup,
  [request.deleteSubscriptionGroup]: deleteGroup,
  [request.getAllSubscriptionGroupConfig]: groupConfigs,
  [request.getSubscriptionGroupConfig]: groupConfig,
  [request.getConsumeStats]: consumeStats,
  [request.getConsumerConnectionList]: consumerConnections,
  [request.getProducerConnectionList]: producerConnections,
  [request.queryTopicConsumeByWho]: consumersOfTopic,
  [request.queryTopicsByConsumer]: topicsOfConsumer,
  [request.querySubscriptionByConsumer]: subscriptionOfConsumer,
  [request.invokeBrokerToResetOffset]: resetOffset,
  [request.getConsumerRunningInfo]: runningInfo,
  [request.consumeMessageDirectly]: consumeDirectly,
  [request.getBrokerRuntimeInfo]: runtimeInfo,
  [request.getBrokerConfig]: brokerConfig,
  [request.getKvConfig]: noConfig,
  [request.getKvListByNamespace]: noConfig,
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

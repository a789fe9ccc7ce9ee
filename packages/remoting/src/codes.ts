/** Request codes. Source: apache/rocketmq RequestCode.java */
export const request = {
  sendMessage: 10,
  pullMessage: 11,
  queryMessage: 12,
  queryConsumerOffset: 14,
  updateConsumerOffset: 15,
  updateAndCreateTopic: 17,
  getAllTopicConfig: 21,
  getBrokerConfig: 26,
  getBrokerRuntimeInfo: 28,
  searchOffsetByTimestamp: 29,
  getMaxOffset: 30,
  getMinOffset: 31,
  getEarliestMsgStoreTime: 32,
  viewMessageById: 33,
  heartBeat: 34,
  unregisterClient: 35,
  consumerSendMsgBack: 36,
  endTransaction: 37,
  getConsumerListByGroup: 38,
  checkTransactionState: 39,
  notifyConsumerIdsChanged: 40,
  lockBatchMq: 41,
  unlockBatchMq: 42,
  checkClientConfig: 46,
  getKvConfig: 101,
  getRouteInfoByTopic: 105,
  getBrokerClusterInfo: 106,
  updateAndCreateSubscriptionGroup: 200,
  getAllSubscriptionGroupConfig: 201,
  getTopicStatsInfo: 202,
  getConsumerConnectionList: 203,
  getProducerConnectionList: 204,
  getAllTopicListFromNameServer: 206,
  deleteSubscriptionGroup: 207,
  getConsumeStats: 208,
  deleteTopicInBroker: 215,
  deleteTopicInNameServer: 216,
  getKvListByNamespace: 219,
  resetConsumerClientOffset: 220,
  invokeBrokerToResetOffset: 222,
  getTopicsByCluster: 224,
  queryTopicConsumeByWho: 300,
  getConsumerRunningInfo: 307,
  consumeMessageDirectly: 309,
  sendMessageV2: 310,
  sendBatchMessage: 320,
  sendReplyMessage: 324,
  sendReplyMessageV2: 325,
  pushReplyMessageToClient: 326,
  queryTopicsByConsumer: 343,
  querySubscriptionByConsumer: 345,
  getTopicConfig: 351,
  getSubscriptionGroupConfig: 352,
  litePullMessage: 361,
  recallMessage: 370,
  queryAssignment: 400,
  setMessageRequestMode: 401,
  popMessage: 200_050,
  ackMessage: 200_051,
  peekMessage: 200_052,
  changeMessageInvisibleTime: 200_053,
  notification: 200_054,
  pollingInfo: 200_055,
  batchAckMessage: 200_151,
} as const

/**
 * A code that a binary header, whose codes have 16 bits, cut down: clients do not refuse to send it. No code of those
 * that are left stands there.
 */
export const uncutCode = (code: number): number => uncut.get(code) ?? code

const uncut: ReadonlyMap<number, number> = new Map(
  Object.values(request)
    .filter((code) => code > 0x7fff)
    .map((code) => [(code << 16) >> 16, code]),
)

/** Response codes. Source: apache/rocketmq ResponseCode.java, RemotingSysResponseCode.java */
export const response = {
  success: 0,
  systemError: 1,
  systemBusy: 2,
  requestCodeNotSupported: 3,
  flushDiskTimeout: 10,
  slaveNotAvailable: 11,
  flushSlaveTimeout: 12,
  messageIllegal: 13,
  serviceNotAvailable: 14,
  versionNotSupported: 15,
  noPermission: 16,
  topicNotExist: 17,
  pullNotFound: 19,
  pullRetryImmediately: 20,
  pullOffsetMoved: 21,
  queryNotFound: 22,
  subscriptionParseFailed: 23,
  subscriptionNotExist: 24,
  subscriptionNotLatest: 25,
  subscriptionGroupNotExist: 26,
  invalidParameter: 29,
  consumerNotOnline: 206,
  noMessage: 208,
  pollingFull: 209,
  pollingTimeout: 210,
  flowControl: 215,
  illegalOperation: 604,
  goAway: 1500,
} as const

/** The byte of a binary header is the place in this list. Source: apache/rocketmq LanguageCode.java */
export const languages = [
  'JAVA',
  'CPP',
  'DOTNET',
  'PYTHON',
  'DELPHI',
  'ERLANG',
  'RUBY',
  'OTHER',
  'HTTP',
  'GO',
  'PHP',
  'OMS',
  'RUST',
  'NODE_JS',
] as const

/** Ordinals of MQVersion.Version that gate behaviour. Source: apache/rocketmq MQVersion.java */
export const version = {
  /** What this side says of itself: V5_3_3. Below 232 SQL92 consumers refuse to pull. */
  ours: 479,
  /** From here on (V5_3_2-SNAPSHOT) a client answers GO_AWAY by a new connection and one transparent retry. */
  goAway: 476,
  /** Up to here (V4_9_3) `_UNIQUE_KEY_QUERY` is not part of what is signed. */
  unsignedUniqueKey: 399,
} as const

/** Bits of a frame's flag. */
export const RESPONSE = 1
export const ONEWAY = 2

/** Bits of a pull's system flag. Source: apache/rocketmq PullSysFlag.java */
export const pullFlag = { commit: 0x1, suspend: 0x2, subscription: 0x4 } as const

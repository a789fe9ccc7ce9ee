/** Request codes. Source: apache/rocketmq RequestCode.java */
export const request = {
  sendMessage: 10,
  pullMessage: 11,
  queryMessage: 12,
  queryConsumerOffset: 14,
  updateConsumerOffset: 15,
  updateAndCreateTopic: 17,
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
  getRouteInfoByTopic: 105,
  getBrokerClusterInfo: 106,
  getConsumerConnectionList: 203,
  getAllTopicListFromNameServer: 206,
  resetConsumerClientOffset: 220,
  getConsumerRunningInfo: 307,
  consumeMessageDirectly: 309,
  sendMessageV2: 310,
  sendBatchMessage: 320,
  sendReplyMessage: 324,
  sendReplyMessageV2: 325,
  pushReplyMessageToClient: 326,
  litePullMessage: 361,
  recallMessage: 370,
  queryAssignment: 400,
  setMessageRequestMode: 401,
  popMessage: 200_050,
  ackMessage: 200_051,
  changeMessageInvisibleTime: 200_053,
  batchAckMessage: 200_151,
} as const

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

import { type EpochMs, Fault, type Limits, type Ms } from '@sluice/core'
import { type Resource, toMs, type WireMessage } from './wire.ts'

/** RocketMQ's own bounds; source: the defaults of its proxy. */
const TOPIC_MAX = 127
const GROUP_MAX = 120
const PROPERTIES_MAX = 128
const PROPERTY_BYTES_MAX = 16 * 1024
const MESSAGE_GROUP_BYTES_MAX = 63
export const LITE_TOPIC_MAX = 64
const DELAY_MAX: Ms = 24 * 3_600_000
const CHECK_AFTER_MAX: Ms = 3_600_000

const liteRule = /^[A-Za-z0-9_-]+$/
const nameRule = /^[%|a-zA-Z0-9_-]+$/
const systemTopic = /^(TBW102|SCHEDULE_TOPIC_XXXX|SELF_TEST_TOPIC|OFFSET_MOVED_EVENT|rmq_sys_.*|RMQ_SYS_.*)$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u001f\u007f]/

/** What RocketMQ keeps for itself among the properties of a record. */
const reservedKeys: ReadonlySet<string> = new Set(
  (
    'KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET BUYER_ID ' +
    'ORIGIN_MESSAGE_ID ORIGIN_GROUP TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON UNIQ_KEY ' +
    'EXTEND_UNIQ_INFO MAX_RECONSUME_TIMES CONSUME_START_TIME TRAN_PREPARED_QUEUE_OFFSET INSTANCE_ID CORRELATION_ID ' +
    'REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE POP_CK POP_CK_OFFSET 1ST_POP_TIME DUP_INFO ' +
    'INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS ' +
    'TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL __BORNHOST BORN_TIMESTAMP DLQ_ORIGIN_TOPIC ' +
    'DLQ_ORIGIN_MESSAGE_ID __CRC32# _SYS_MSG_PRIORITY_ __LITE_TOPIC'
  ).split(' '),
)

const invalid = (about: string, why: string) => new Fault('invalid', `${about} ${why}`, { about })
const blank = (text: string) => text.trim() === ''

/** @throws Fault 'invalid' about 'topic' */
export const checkTopic = (resource: Resource | undefined): string => {
  const name = resource?.name ?? ''
  if (!nameRule.test(name) || name.length > TOPIC_MAX) {
    throw invalid('topic', `has 1 to ${TOPIC_MAX} characters of % | a-z A-Z 0-9 _ -`)
  }
  if (systemTopic.test(name)) throw invalid('topic', `${name} belongs to the system`)
  return name
}

/** @throws Fault 'invalid' about 'group' */
export const checkGroup = (resource: Resource | undefined): string => {
  const name = resource?.name ?? ''
  if (!nameRule.test(name) || name.length > GROUP_MAX) {
    throw invalid('group', `has 1 to ${GROUP_MAX} characters of % | a-z A-Z 0-9 _ -`)
  }
  return name
}

/** @throws Fault 'invalid' about 'liteTopic' */
export const checkLiteTopic = (name: string): string => {
  if (!liteRule.test(name) || name.length > LITE_TOPIC_MAX) {
    throw invalid('liteTopic', `has 1 to ${LITE_TOPIC_MAX} characters of a-z A-Z 0-9 _ -`)
  }
  return name
}

/** The rules for a message, in the order in which RocketMQ's proxy applies them. @throws Fault in this protocol's terms */
export const checkMessage = (message: WireMessage, limits: Pick<Limits, 'bodyBytes'>, now: EpochMs): void => {
  const system = message.system_properties ?? { keys: [] }
  const bytes = message.body?.length ?? 0
  if (bytes === 0) throw invalid('body', 'is empty')
  if (bytes > limits.bodyBytes) {
    throw new Fault('tooLarge', `body has ${bytes} bytes, at most ${limits.bodyBytes} are taken`, { about: 'body' })
  }
  checkProperties(message.user_properties, system.tag, system.keys)
  if (system.tag !== undefined && (blank(system.tag) || system.tag.includes('|') || control.test(system.tag))) {
    throw invalid('tag', 'is blank, or has | or a control character')
  }
  if (system.keys.some((key) => blank(key) || control.test(key))) {
    throw invalid('key', 'is blank or has a control character')
  }
  if (blank(system.message_id ?? '')) throw invalid('id', 'of the message is blank')
  const recovery = system.orphaned_transaction_recovery_duration
  if (recovery && toMs(recovery, 'recovery duration') > CHECK_AFTER_MAX) {
    throw invalid('recovery duration', 'is over an hour')
  }
  const at = system.delivery_timestamp
  if (at && toMs(at, 'deliverAt') - now > DELAY_MAX) throw invalid('deliverAt', 'is more than 24 hours ahead')
  const group = system.message_group
  if (
    group !== undefined &&
    (blank(group) || Buffer.byteLength(group) > MESSAGE_GROUP_BYTES_MAX || control.test(group))
  ) {
    throw invalid('messageGroup', `is blank, over ${MESSAGE_GROUP_BYTES_MAX} bytes, or has a control character`)
  }
  if (system.lite_topic !== undefined) checkLiteTopic(system.lite_topic)
}

const checkProperties = (
  properties: Readonly<Record<string, string>>,
  tag: string | undefined,
  keys: readonly string[],
): void => {
  const names = Object.keys(properties)
  let bytes = Buffer.byteLength(tag ?? '')
  for (const key of keys) bytes += Buffer.byteLength(key)
  for (const name of names) bytes += Buffer.byteLength(name) + Buffer.byteLength(properties[name] as string)
  if (names.length > PROPERTIES_MAX || bytes > PROPERTY_BYTES_MAX) {
    throw new Fault('tooLarge', `over ${PROPERTIES_MAX} properties or ${PROPERTY_BYTES_MAX} bytes of them`, {
      about: 'properties',
    })
  }
  for (const name of names) {
    if (reservedKeys.has(name)) throw invalid('property', `${name} is reserved`)
    if (control.test(name) || control.test(properties[name] as string)) {
      throw invalid('property', 'has a control character in its name or value')
    }
  }
}

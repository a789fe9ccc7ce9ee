import { type Context, Fault, type StoredMessage } from '@sluice/core'
import { parseOffsetMsgId, response, version } from '@sluice/remoting'
import type { Answer, Desk, Handler } from '../desk.ts'
import { string, text } from '../fields.ts'
import { BROKER, CLUSTER } from '../routes.ts'
import { nodeOf } from './settle.ts'
import { administer, jsonAnswer } from './topicAdmin.ts'

const isText = (answer: unknown): answer is string => typeof answer === 'string'

/** A client of RocketMQ answers in its own JSON; what others say is put where it would stand. */
const answered = (answer: unknown, field: string): Answer => ({
  code: response.success,
  body: Buffer.from(isText(answer) && answer.startsWith('{') ? answer : JSON.stringify({ [field]: answer })),
})

/** GET_CONSUMER_RUNNING_INFO (307), asked by an administrator of a client. */
export const runningInfo: Handler = async ({ ext }, context, desk) => {
  const client = text(ext, 'clientId')
  const notice = { kind: 'probe', ask: ext.jstackEnable === 'true' ? 'stack' : 'status' } as const
  const { answer } = await administer<'ask'>({ do: 'ask', client, notice }, context, desk)
  return answered(answer, 'jstack')
}

/** CONSUME_MESSAGE_DIRECTLY (309): one message, whose id is its place. */
export const consumeDirectly: Handler = async ({ ext }, context, desk) => {
  const group = text(ext, 'consumerGroup')
  const client = string(ext.clientId)
  if (client === undefined) throw new Fault('malformed', 'field clientId is missing')
  const verify = await messageOf(text(ext, 'msgId'), string(ext.topic), context, desk)
  const notice = { kind: 'probe', ask: { verify, group } } as const
  const { answer } = await administer<'ask'>({ do: 'ask', client, notice }, context, desk)
  return answered(answer, 'remark')
}

const messageOf = async (
  id: string,
  topic: string | undefined,
  context: Context,
  desk: Desk,
): Promise<StoredMessage> => {
  const place = parseOffsetMsgId(id)?.place
  if (place === undefined) throw new Fault('invalid', 'field msgId is no id with a place')
  const node = topic === undefined ? '' : await nodeOf(topic, context, desk)
  const from = { by: 'place', node, place } as const
  const { batch } = await desk.gateway.handle({ kind: 'read', from, max: 1, bytes: 1, wait: 0 }, context)
  for (const { message } of batch) return message
  throw new Fault('notFound', 'no message stands there', { about: 'message' })
}

/** GET_BROKER_RUNTIME_INFO (28): what can be said of a broker that is several. */
export const runtimeInfo: Handler = () =>
  jsonAnswer({ table: { brokerVersionDesc: 'V5_3_3', brokerVersion: String(version.ours) } })

/** GET_BROKER_CONFIG (26): lines of `name=value`. */
export const brokerConfig: Handler = () => ({
  code: response.success,
  body: Buffer.from(`brokerName=${BROKER}\nbrokerClusterName=${CLUSTER}\nbrokerId=0\n`),
})

/** GET_KV_CONFIG (101), GET_KVLIST_BY_NAMESPACE (219): there are none. */
export const noConfig: Handler = ({ ext }) => {
  throw new Fault('notFound', `namespace ${text(ext, 'namespace')} holds nothing`)
}

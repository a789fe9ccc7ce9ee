import { type Context, compileFilter, Fault, type Queue } from '@sluice/core'
import { response } from '@sluice/remoting'
import { type Desk, done, type Handler, type NamedHandler } from '../desk.ts'
import { json, list, string, text } from '../fields.ts'
import { filterOf, heartbeatOf, without } from '../membership.ts'

/** Queues that one LOCK_BATCH_MQ may name. */
export const LOCKS_MAX = 10_000

/** HEART_BEAT (34). Our version lets SQL92 consumers pull; subscriptions come whole each time. */
export const heartbeat: NamedHandler = async (frame, desk) => {
  const { client, member, partial } = heartbeatOf(frame.body)
  const at = desk.gateway.clock.now()
  const context = await desk.identify(client, frame)
  // A client that learned elsewhere to leave out what is unchanged says all of it the next time.
  if (partial) return { code: response.success, ext: { IS_SUB_CHANGE: 'true' } }
  await desk.gateway.handle({ kind: 'heartbeat', member }, context)
  // Its own coming is what a lite pull consumer waits for before it takes queues.
  for (const { group } of member.consumes)
    if (!desk.member.consumes.some((one) => one.group === group)) desk.tell({ kind: 'rebalance', group })
  desk.joined(member, at)
  return done
}

/** UNREGISTER_CLIENT (35). A group that this client still has in its other role is not left. */
export const unregister: NamedHandler = async (frame, desk) => {
  const { ext } = frame
  const context = await desk.identify(undefined, frame)
  const before = desk.member
  const after = without(before, string(ext.producerGroup), string(ext.consumerGroup))
  const groups = new Set([string(ext.producerGroup), string(ext.consumerGroup)])
  for (const group of groups) {
    if (group === undefined || !isIn(before, group)) continue
    if (isIn(after, group)) await desk.gateway.handle({ kind: 'heartbeat', member: after }, context)
    else await desk.gateway.handle({ kind: 'leave', what: { group } }, context)
  }
  desk.joined(after, desk.gateway.clock.now())
  return done
}

const isIn = ({ produces, consumes }: Desk['member'], group: string): boolean =>
  produces.includes(group) || consumes.some((one) => one.group === group)

/** GET_CONSUMER_LIST_BY_GROUP (38). A client that does not find itself there takes no queue. */
export const consumerList: Handler = async ({ ext }, context, { gateway, member }) => {
  const group = text(ext, 'consumerGroup')
  const { members } = await gateway.handle({ kind: 'members', group }, context)
  const consumes = ({ consumes }: Desk['member']) => consumes.some((one) => one.group === group)
  const clients = new Set(members.filter((one) => consumes(one.member)).map(({ client }) => client))
  if (consumes(member)) clients.add(context.session.client)
  if (clients.size === 0) throw new Fault('notFound', `group ${group} has no consumers`, { about: 'members' })
  return { code: response.success, body: Buffer.from(JSON.stringify({ consumerIdList: [...clients] })) }
}

/** CHECK_CLIENT_CONFIG (46): whether its filter can be understood. */
export const checkConfig: Handler = ({ body }) => {
  const subscription = body ? list([json(body).subscriptionData])[0] : undefined
  if (subscription) compileFilter(filterOf(string(subscription.expressionType), string(subscription.subString)))
  return done
}

/** LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42). What is locked comes back as the client wrote it. */
const lockOrNot =
  (hold: boolean): NamedHandler =>
  async (frame, desk) => {
    const data = json(frame.body)
    const group = string(data.consumerGroup)
    if (group === undefined) throw new Fault('malformed', 'no consumerGroup', { about: 'group' })
    const context = await desk.identify(string(data.clientId), frame)
    const asked = await named(list(data.mqSet), context, desk)
    const queues = asked.map(({ queue }) => queue)
    const { locked } = await desk.gateway.handle({ kind: 'lock', group, queues, hold }, context)
    if (!hold) return done
    const ours = new Set(locked.map(keyOf))
    const lockOKMQSet = asked.filter(({ queue }) => ours.has(keyOf(queue))).map(({ said }) => said)
    return { code: response.success, body: Buffer.from(JSON.stringify({ lockOKMQSet })) }
  }

export const lock = lockOrNot(true)
export const unlock = lockOrNot(false)

const keyOf = ({ topic, node, index }: Queue): string => `${topic}\n${node}\n${index}`

interface Named {
  readonly queue: Queue
  readonly said: object
}

/** Queues that do not exist are not locked, and that is all the client hears of it. */
const named = async (
  set: readonly Readonly<Record<string, unknown>>[],
  context: Context,
  { topics }: Desk,
): Promise<readonly Named[]> => {
  if (set.length > LOCKS_MAX) throw new Fault('limit', `at most ${LOCKS_MAX} queues at once`)
  const queues: Named[] = []
  for (const said of set) {
    const topic = string(said.topic)
    if (topic === undefined || typeof said.queueId !== 'number') continue
    try {
      queues.push({ queue: await topics.queue(topic, said.queueId, context), said })
    } catch (error) {
      if (!Fault.is(error) || (error.code !== 'topicNotFound' && error.code !== 'notFound')) throw error
    }
  }
  return queues
}

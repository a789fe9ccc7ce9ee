import { type Context, Fault, type Member, type Start } from '@sluice/core'
import { response } from '@sluice/remoting'
import { connectionOf, consumptionOf, groupConfigOf, groupSpecOf, subscriptionDataOf } from '../adminBodies.ts'
import { type Desk, done, type Handler } from '../desk.ts'
import { integer, json, string, text } from '../fields.ts'
import { objectKeyed } from '../notices.ts'
import { administer, jsonAnswer } from './topicAdmin.ts'

/** UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200). */
export const putGroup: Handler = async ({ body }, context, desk) => {
  const data = json(body)
  const group = string(data.groupName)
  if (group === undefined) throw new Fault('malformed', 'field groupName of the body is missing')
  const before = await desk.gateway.handle({ kind: 'group', group }, context)
  await administer<'putGroup'>({ do: 'putGroup', spec: groupSpecOf(data, group, before) }, context, desk)
  return done
}

/** DELETE_SUBSCRIPTIONGROUP (207). */
export const deleteGroup: Handler = async ({ ext }, context, desk) => {
  await administer<'deleteGroup'>({ do: 'deleteGroup', group: text(ext, 'groupName') }, context, desk)
  return done
}

/** GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201). */
export const groupConfigs: Handler = async (_, context, desk) => {
  const { groups } = await administer<'listGroups'>({ do: 'listGroups' } as never, context, desk)
  return jsonAnswer({
    subscriptionGroupTable: Object.fromEntries(groups.map((spec) => [spec.group, groupConfigOf(spec)])),
  })
}

/** GET_SUBSCRIPTIONGROUP_CONFIG (352). */
export const groupConfig: Handler = async ({ ext }, context, { gateway }) =>
  jsonAnswer(groupConfigOf(await gateway.handle({ kind: 'group', group: text(ext, 'group') }, context)))

/** GET_CONSUME_STATS (208): how far a group is in each queue. */
export const consumeStats: Handler = async ({ ext }, context, desk) => {
  const group = text(ext, 'consumerGroup')
  const only = string(ext.topic)
  const progress = only === undefined ? {} : { topic: only }
  const info = await desk.gateway.handle({ kind: 'group', group, progress }, context)
  const entries = await Promise.all(
    (info.progress ?? []).map(async ({ queue, committed, max, leased, readAt }) => {
      const numbered = await desk.topics.get(queue.topic, context)
      const stats = {
        brokerOffset: max,
        consumerOffset: committed,
        lastTimestamp: readAt ?? 0,
        pullOffset: committed + leased,
      }
      return [queue.topic, numbered.number(queue) ?? queue.index, stats] as const
    }),
  )
  return { code: response.success, body: Buffer.from(`{"consumeTps":0,"offsetTable":${objectKeyed(entries)}}`) }
}

const membersOf = async (group: string, context: Context, { gateway }: Desk): Promise<readonly Member[]> =>
  (await gateway.handle({ kind: 'members', group }, context)).members

const consumesIn = (group: string) => (one: Member) => one.member.consumes.find((consumer) => consumer.group === group)

/** GET_CONSUMER_CONNECTION_LIST (203); 206 where nobody consumes. */
export const consumerConnections: Handler = async ({ ext }, context, desk) => {
  const group = text(ext, 'consumerGroup')
  const members = (await membersOf(group, context, desk)).filter(consumesIn(group))
  const last = members.at(-1)
  const consumes = last && consumesIn(group)(last)
  if (!consumes) return { code: response.consumerNotOnline, remark: `group ${group} has no consumer now` }
  return jsonAnswer({ connectionSet: members.map(connectionOf), ...consumptionOf(consumes) })
}

/** GET_PRODUCER_CONNECTION_LIST (204). */
export const producerConnections: Handler = async ({ ext }, context, desk) => {
  const group = text(ext, 'producerGroup')
  const members = (await membersOf(group, context, desk)).filter(({ member }) => member.produces.includes(group))
  if (members.length === 0) throw new Fault('notFound', `group ${group} has no producer now`, { about: 'members' })
  return jsonAnswer({ connectionSet: members.map(connectionOf) })
}

/** QUERY_TOPIC_CONSUME_BY_WHO (300). */
export const consumersOfTopic: Handler = async ({ ext }, context, { gateway }) => {
  const topic = text(ext, 'topic')
  const { members } = await gateway.handle({ kind: 'members' }, context)
  const groups = members.flatMap(({ member }) =>
    member.consumes.filter(({ topics }) => topics.some((one) => one.topic === topic)).map(({ group }) => group),
  )
  return jsonAnswer({ groupList: [...new Set(groups)] })
}

/** QUERY_TOPICS_BY_CONSUMER (343). */
export const topicsOfConsumer: Handler = async ({ ext }, context, { gateway }) => {
  const group = text(ext, 'group')
  const { progress = [] } = await gateway.handle({ kind: 'group', group, progress: {} }, context)
  return jsonAnswer({ topicList: [...new Set(progress.map(({ queue }) => queue.topic))] })
}

/** QUERY_SUBSCRIPTION_BY_CONSUMER (345). */
export const subscriptionOfConsumer: Handler = async ({ ext }, context, desk) => {
  const [group, topic] = [text(ext, 'group'), text(ext, 'topic')]
  const consumers = (await membersOf(group, context, desk)).flatMap((one) => consumesIn(group)(one) ?? [])
  const found = consumers.flatMap(({ topics }) => topics).find((one) => one.topic === topic)
  return jsonAnswer({ group, topic, subscriptionData: found ? subscriptionDataOf(found) : null })
}

/** INVOKE_BROKER_TO_RESET_OFFSET (222): its consumers are told (220). */
export const resetOffset: Handler = async ({ ext }, context, desk) => {
  const [group, topic] = [text(ext, 'group'), text(ext, 'topic')]
  const number = integer(ext, 'queueId', -1)
  const queue = number < 0 ? undefined : await desk.topics.queue(topic, number, context)
  const action = { do: 'resetOffset', topic, group, to: startOf(ext), ...(queue && { queue }) } as const
  const { offsets } = await administer<'resetOffset'>(action, context, desk)
  const numbered = await desk.topics.get(topic, context)
  const entries = offsets.map((one) => [topic, numbered.number(one.queue) ?? one.queue.index, one.offset] as const)
  return { code: response.success, body: Buffer.from(`{"offsetTable":${objectKeyed(entries)}}`) }
}

/** −1 is now. */
const startOf = (ext: Readonly<Record<string, string>>): Start => {
  const offset = integer(ext, 'offset', -1)
  if (offset >= 0) return { offset }
  const time = integer(ext, 'timestamp')
  return time < 0 ? 'max' : { time, edge: 'lower' }
}

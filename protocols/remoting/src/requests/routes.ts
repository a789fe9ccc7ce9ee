import { type Context, Fault } from '@sluice/core'
import { response } from '@sluice/remoting'
import type { Desk, Handler } from '../desk.ts'
import { text } from '../fields.ts'
import { CLUSTER, clusterJson, countQueues, routeJson } from '../routes.ts'
import { RETRY } from '../translate.ts'

/** Where replies are sent, by their name: they go to the client that asked and into no topic. */
const REPLIES = `${CLUSTER}_REPLY_TOPIC`

/**
 * GET_ROUTEINFO_BY_TOPIC (105); 17 where there is none. A producer then asks for TBW102, the topic that stands for those
 * that a publish makes: whether it exists is the broker's answer, as with any other.
 */
export const routeInfo: Handler = async ({ ext }, context, desk) => {
  const topic = text(ext, 'topic')
  try {
    if (topic === REPLIES) return { code: response.success, body: routeJson(desk.address, { read: 1, write: 1 }) }
    const { info } = await desk.topics.ask(topic, context)
    return { code: response.success, body: routeJson(desk.address, countQueues(info)) }
  } catch (error) {
    if (!Fault.is(error) || error.code !== 'topicNotFound') throw error
    if (topic.startsWith(RETRY) && (await isGroup(topic.slice(RETRY.length), context, desk)))
      return { code: response.success, body: routeJson(desk.address, { read: 1, write: 1 }) }
    throw error
  }
}

/** Retries of a group are looked for as soon as it consumes, before there is one. */
const isGroup = async (group: string, context: Context, { gateway, member }: Desk): Promise<boolean> => {
  if (member.consumes.some((one) => one.group === group)) return true
  try {
    await gateway.handle({ kind: 'group', group }, context)
    return true
  } catch (error) {
    if (Fault.is(error) && error.code === 'groupNotFound') return false
    throw error
  }
}

/** GET_BROKER_CLUSTER_INFO (106). */
export const clusterInfo: Handler = (_, __, { address }) => ({ code: response.success, body: clusterJson(address) })

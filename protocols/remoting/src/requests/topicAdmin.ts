import { type AdminAction, type AdminResults, type Context, Fault } from '@sluice/core'
import { response } from '@sluice/remoting'
import { topicConfigOf, topicSpecOf } from '../adminBodies.ts'
import { type Answer, type Desk, done, type Handler } from '../desk.ts'
import { text } from '../fields.ts'
import { objectKeyed } from '../notices.ts'
import { checkTopic } from '../translate.ts'

/** @throws what the broker refuses it with */
export const administer = async <R extends keyof AdminResults>(
  action: AdminAction & { readonly do: R },
  context: Context,
  { gateway }: Desk,
): Promise<AdminResults[R]> => (await gateway.handle({ kind: 'admin', action }, context)) as AdminResults[R]

export const jsonAnswer = (value: object): Answer => ({
  code: response.success,
  body: Buffer.from(JSON.stringify(value)),
})

/** UPDATE_AND_CREATE_TOPIC (17). */
export const putTopic: Handler = async ({ ext }, context, desk) => {
  const topic = checkTopic(text(ext, 'topic'))
  const topics = [topicSpecOf(ext, topic)]
  const { failed } = await administer<'putTopics'>({ do: 'putTopics', topics }, context, desk)
  if (failed[0]) throw failed[0].fault
  desk.topics.forget(topic, context)
  return done
}

/** DELETE_TOPIC_IN_BROKER (215). */
export const deleteTopic: Handler = async ({ ext }, context, desk) => {
  const topic = text(ext, 'topic')
  await administer<'deleteTopic'>({ do: 'deleteTopic', topic }, context, desk)
  desk.topics.forget(topic, context)
  return done
}

/** DELETE_TOPIC_IN_NAMESRV (216): the broker's list is the only one, and the topic is gone from it. */
export const deleteRoute: Handler = async ({ ext }, context, desk) => {
  const topic = text(ext, 'topic')
  try {
    await desk.topics.ask(topic, context)
  } catch (error) {
    if (Fault.is(error) && error.code === 'topicNotFound') return done
    throw error
  }
  throw new Fault('conflict', `topic ${topic} is still at the broker`)
}

const specs = async (context: Context, desk: Desk) =>
  (await administer<'listTopics'>({ do: 'listTopics' } as never, context, desk)).topics

/** GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), GET_TOPICS_BY_CLUSTER (224). */
export const topicList: Handler = async (_, context, desk) =>
  jsonAnswer({ topicList: (await specs(context, desk)).map(({ topic }) => topic) })

/** GET_ALL_TOPIC_CONFIG (21). */
export const topicConfigs: Handler = async (_, context, desk) =>
  jsonAnswer({
    topicConfigTable: Object.fromEntries((await specs(context, desk)).map((spec) => [spec.topic, topicConfigOf(spec)])),
  })

/** GET_TOPIC_CONFIG (351). */
export const topicConfig: Handler = async ({ ext }, context, desk) => {
  const { info } = await desk.topics.ask(text(ext, 'topic'), context)
  return jsonAnswer(topicConfigOf(info))
}

/** GET_TOPIC_STATS_INFO (202): first and next offset of each queue. */
export const topicStats: Handler = async ({ ext }, context, desk) => {
  const topic = text(ext, 'topic')
  const { info } = await desk.topics.ask(topic, context)
  const offset = async (queue: (typeof info.routes)[number]['queue'], at: 'min' | 'max') =>
    (await desk.gateway.handle({ kind: 'queryOffset', queue, at }, context)).offset
  const entries = await Promise.all(
    info.routes.map(async ({ queue, number }) => {
      const [minOffset, maxOffset] = await Promise.all([offset(queue, 'min'), offset(queue, 'max')])
      return [topic, number, { minOffset, maxOffset, lastUpdateTimestamp: 0 }] as const
    }),
  )
  return {
    code: response.success,
    body: Buffer.from(`{"offsetTable":${objectKeyed(entries)},"topicPutTps":0}`),
  }
}

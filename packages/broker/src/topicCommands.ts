import { type CommandOf, Fault, type Replies, type TopicInfo, type TopicSpec } from '@sluice/core'
import type { Core } from './core.ts'
import { topicNotFound } from './errors.ts'
import { writeTopic } from './events.ts'
import { checkTopicName, isSystemTopic, QUEUES_MAX, type QueueState, type TopicState } from './topics.ts'

/** The name under which RocketMQ clients ask for what a topic of theirs would be. There is no such topic. */
export const TEMPLATE_TOPIC = 'TBW102'

/**
 * Made or changed; durable with the next sync.
 * @throws Fault 'invalid' about 'topic' or 'queues', 'limit' about 'topic'
 */
export const createTopic = (core: Core, spec: TopicSpec): TopicState => {
  const { state, log } = core
  checkTopicName(spec.topic)
  if (!Number.isInteger(spec.queues) || spec.queues < 1 || spec.queues > QUEUES_MAX)
    throw new Fault('invalid', `a topic has 1 to ${QUEUES_MAX} queues`, { about: 'queues' })
  if (!state.topics.has(spec.topic) && state.topics.size >= state.bounds.topics)
    throw new Fault('limit', `there are ${state.topics.size} topics already`, { about: 'topic' })
  const place = log.append(writeTopic(spec))
  return state.putTopic(spec, place)
}

/** A retry or dead-letter topic is there as soon as somebody asks for it. @throws Fault 'topicNotFound' */
export const topicOf = (core: Core, name: string): TopicState => {
  const topic = core.state.topics.get(name)
  if (topic) return topic
  checkTopicName(name)
  if (!isSystemTopic(name)) throw topicNotFound(name)
  return createTopic(core, { topic: name, queues: 1, type: 'mixed' })
}

/**
 * Of a producer or consumer: made on first use, unless that is switched off.
 * @throws Fault 'topicNotFound', 'invalid', 'limit' about 'topic'
 */
export const topicOrNew = (core: Core, name: string): TopicState => {
  const topic = core.state.topics.get(name)
  if (topic) return topic
  checkTopicName(name)
  const { autoCreateTopics, defaultQueues } = core.settings
  if (isSystemTopic(name) || !autoCreateTopics || name === TEMPLATE_TOPIC) return topicOf(core, name)
  return createTopic(core, { topic: name, queues: defaultQueues, type: 'mixed' })
}

/** @throws Fault 'topicNotFound', 'invalid' about 'queue' */
export const queueFor = (core: Core, topic: string, index: number): QueueState => {
  const queue = topicOf(core, topic).queues[index]
  if (!queue) throw new Fault('invalid', `topic ${topic} has no queue ${index}`, { about: 'queue' })
  return queue
}

export const topicInfo = (topic: TopicState): TopicInfo => ({
  ...topic.spec,
  routes: topic.queues.map(({ queue }) => ({ queue, number: queue.index, readable: true, writable: true })),
})

/** Asking makes no topic, but the template says what one that is made on first use would be. */
export const topic = async (core: Core, command: CommandOf<'topic'>): Promise<Replies['topic']> => {
  const { autoCreateTopics, defaultQueues, node } = core.settings
  if (command.topic !== TEMPLATE_TOPIC || !autoCreateTopics) return topicInfo(topicOf(core, command.topic))
  const routes = Array.from({ length: defaultQueues }, (_, index) => ({
    queue: { topic: TEMPLATE_TOPIC, node, index },
    number: index,
    readable: true,
    writable: true,
  }))
  return { topic: TEMPLATE_TOPIC, queues: defaultQueues, type: 'mixed', routes }
}

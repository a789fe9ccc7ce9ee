import type { GroupInfo, Limits, Membership, Ms } from '@sluice/core'
import { QUOTA } from './lite.ts'
import { checkGroup, checkTopic, LITE_TOPIC_MAX } from './rules.ts'
import { BATCH_MAX, pollMax, toFilter } from './translate.ts'
import { fromMs, type RetryPolicy, type Settings } from './wire.ts'

/** What one consumer or producer is, by its settings. @throws Fault 'invalid' about 'topic' or 'group' */
export const toMembership = ({ publishing, subscription, client_type }: Settings, version: number): Membership => {
  if (publishing) return { produces: publishing.topics.map((topic) => checkTopic(topic)), consumes: [] }
  if (!subscription) return { produces: [], consumes: [] }
  const topics = subscription.subscriptions.map(({ topic, expression }) => {
    const filter = toFilter(expression)
    return { topic: checkTopic(topic), ...(filter && { filter }), version }
  })
  return consumerOf(checkGroup(subscription.group), client_type, topics)
}

const modes: Readonly<Record<string, 'push' | 'pull'>> = { PUSH_CONSUMER: 'push', PULL_CONSUMER: 'pull' }

/** A consumer that we know by its heartbeat alone: its settings went to another process. */
export const consumerOf = (
  group: string,
  clientType: string | number | undefined,
  topics: Membership['consumes'][number]['topics'] = [],
): Membership => ({
  produces: [],
  consumes: [{ group, mode: modes[String(clientType)] ?? 'pop', model: 'cluster', from: 'min', topics }],
})

const producerPolicy: RetryPolicy = {
  max_attempts: 3,
  exponential_backoff: { initial: fromMs(10), max: fromMs(1_000), multiplier: 2 },
}

/** Proxy's policy of a group that nobody configured: 16 retries after the first delivery. */
const defaultSteps: readonly Ms[] = [
  1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
].map((seconds) => seconds * 1_000)

/**
 * Node knows no list of steps and no parts of a second; without a policy it has, one failure would make an ordered message
 * dead. It doubles from the first step to the longest.
 */
const exponentialOf = (steps: readonly Ms[]): RetryPolicy['exponential_backoff'] => {
  const whole = (ms: Ms) => fromMs(Math.max(1_000, Math.ceil(ms / 1_000) * 1_000))
  return { initial: whole(steps[0] as Ms), max: whole(Math.max(...steps)), multiplier: 2 }
}

const groupPolicy = (group: GroupInfo | undefined, language: string | number | undefined): RetryPolicy => {
  const backoff = group?.backoff ?? defaultSteps
  const max_attempts = group?.maxAttempts ?? 17
  if ('initial' in backoff) {
    const { initial, max, times } = backoff
    return { max_attempts, exponential_backoff: { initial: fromMs(initial), max: fromMs(max), multiplier: times } }
  }
  // An empty list would be no policy at all to Rust and Java.
  const steps = backoff.length > 0 ? backoff : defaultSteps
  const exponential_backoff = language === 'NODE_JS' && exponentialOf(steps)
  return exponential_backoff
    ? { max_attempts, exponential_backoff }
    : { max_attempts, customized_backoff: { next: steps.map(fromMs) } }
}

/**
 * The client's settings with what the server decides. Complete, whatever the client sent: a missing strategy, a body
 * size, poll time or batch size of 0, or the other oneof each break some client.
 */
export const toSettings = (asked: Settings, group: GroupInfo | undefined, limits: Limits): Settings => {
  const common = {
    ...(asked.client_type !== undefined && { client_type: asked.client_type }),
    ...(asked.access_point && { access_point: asked.access_point }),
    ...(asked.request_timeout && { request_timeout: asked.request_timeout }),
    ...(asked.user_agent && { user_agent: asked.user_agent }),
    metric: { on: false },
  }
  if (asked.publishing) {
    const { topics } = asked.publishing
    return {
      ...common,
      backoff_policy: producerPolicy,
      publishing: { topics, max_body_size: limits.bodyBytes, validate_message_type: true },
    }
  }
  return {
    ...common,
    backoff_policy: groupPolicy(group, asked.user_agent?.language),
    subscription: {
      ...(asked.subscription?.group && { group: asked.subscription.group }),
      subscriptions: asked.subscription?.subscriptions ?? [],
      fifo: group?.fifo ?? false,
      receive_batch_size: BATCH_MAX,
      long_polling_timeout: fromMs(pollMax(limits)),
      lite_subscription_quota: group?.lite?.quota ?? QUOTA,
      max_lite_topic_size: LITE_TOPIC_MAX,
    },
  }
}

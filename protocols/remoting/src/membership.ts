import { Fault, type Filter, type Membership, type Start } from '@sluice/core'
import { json, list, string } from './fields.ts'

type Consumer = Membership['consumes'][number]

/** Groups and subscriptions that one heartbeat may name. */
export const GROUPS_MAX = 1_000
export const SUBSCRIPTIONS_MAX = 10_000

export interface Heartbeat {
  readonly client: string
  readonly member: Membership
  /** Subscriptions were left out because, as the client believes, we know them. */
  readonly partial: boolean
}

/** The body of HEART_BEAT (34). @throws Fault 'malformed', 'limit' */
export const heartbeatOf = (body: Buffer | undefined): Heartbeat => {
  const data = json(body)
  const client = string(data.clientID)
  if (client === undefined) throw new Fault('malformed', 'a heartbeat without clientID')
  const producers = list(data.producerDataSet)
  const consumers = list(data.consumerDataSet)
  const subscriptions = consumers.reduce((sum, one) => sum + list(one.subscriptionDataSet).length, 0)
  if (producers.length + consumers.length > GROUPS_MAX || subscriptions > SUBSCRIPTIONS_MAX)
    throw new Fault('limit', `a heartbeat names at most ${GROUPS_MAX} groups and ${SUBSCRIPTIONS_MAX} subscriptions`)
  return {
    client,
    member: {
      produces: producers.flatMap(({ groupName }) => string(groupName) ?? []),
      consumes: consumers.flatMap((one) => consumerOf(one) ?? []),
    },
    partial: data.withoutSub === true,
  }
}

const modes: Readonly<Record<string, Consumer['mode']>> = {
  CONSUME_ACTIVELY: 'pull',
  CONSUME_PASSIVELY: 'push',
  CONSUME_POP: 'pop',
}

const consumerOf = (data: Readonly<Record<string, unknown>>): Consumer | undefined => {
  const group = string(data.groupName)
  if (group === undefined) return undefined
  return {
    group,
    mode: modes[String(data.consumeType)] ?? 'push',
    model: data.messageModel === 'BROADCASTING' ? 'broadcast' : 'cluster',
    from: startOf(String(data.consumeFromWhere)),
    topics: list(data.subscriptionDataSet).flatMap((one) => {
      const topic = string(one.topic)
      if (topic === undefined) return []
      const version = typeof one.subVersion === 'number' ? one.subVersion : 0
      return { topic, filter: filterOf(string(one.expressionType), string(one.subString)), version }
    }),
  }
}

/** Three deprecated names mean what they say; a time is asked for by the client itself. */
const startOf = (where: string): Start =>
  where === 'CONSUME_FROM_FIRST_OFFSET' || where === 'CONSUME_FROM_MIN_OFFSET' ? 'min' : 'max'

/** `*` is said too: it means this subscription, not the one that another member of the group registered. */
export const filterOf = (type: string | undefined, expression: string | undefined): Filter => ({
  kind: type === 'SQL92' ? 'sql92' : 'tag',
  expression: expression ?? '*',
})

/** What is left of a membership after UNREGISTER_CLIENT (35). */
export const without = (
  member: Membership,
  produces: string | undefined,
  consumes: string | undefined,
): Membership => ({
  produces: member.produces.filter((group) => group !== produces),
  consumes: member.consumes.filter(({ group }) => group !== consumes),
})

export const subscriptionOf = (member: Membership, group: string, topic: string) =>
  member.consumes.find((one) => one.group === group)?.topics.find((one) => one.topic === topic)

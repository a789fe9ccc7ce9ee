import { type Binding, Fault, joinPath, type Ms, type Start } from '@sluice/core'
import { type Asker, contextOf, type Hall, type Unary } from './calls.ts'
import { ok } from './faults.ts'
import { checkGroup, checkLiteTopic, checkTopic } from './rules.ts'
import { exact, type SyncLiteSubscriptionRequest } from './wire.ts'

/** An inbox outlives its client by so much; what it holds goes back then. Clients say their whole set every 30 s. */
const EXPIRY: Ms = 120_000
/** Of a group that nobody configured. */
export const QUOTA = 2_000
/** Groups of one client: a client is one consumer. */
const GROUPS_MAX = 4

export interface LiteInbox {
  readonly inbox: string
  readonly epoch: number
}

/** The inboxes of one client, opened when they are first needed: another process may have opened them before. */
export class LiteInboxes {
  readonly #open = new Map<string, Promise<LiteInbox>>()

  has(group: string): boolean {
    return this.#open.has(group)
  }

  /** @throws Fault 'limit', and of `open` */
  of(group: string, asker: Asker, hall: Hall): Promise<LiteInbox> {
    const known = this.#open.get(group)
    if (known) return known
    if (this.#open.size >= GROUPS_MAX) throw new Fault('limit', `over ${GROUPS_MAX} groups of one client`)
    const { client, principal } = asker.client.session
    const inbox = `%LITE%${group}@${principal.name}@${client}`
    const opening = hall.gateway
      .handle({ kind: 'open', inbox, fresh: false, expiry: EXPIRY }, contextOf(asker, hall))
      .then(({ epoch }) => ({ inbox, epoch }))
    opening.catch(() => this.#open.delete(group))
    this.#open.set(group, opening)
    return opening
  }

  /** Somebody else opened it: opened anew when it is asked for again. */
  forget(group: string): void {
    this.#open.delete(group)
  }
}

/** @throws Fault 'invalid' about 'offset' */
const startOf = (option: SyncLiteSubscriptionRequest['offset_option']): Start | undefined => {
  if (option?.offset !== undefined) return { offset: exact(option.offset, 'offset') }
  if (option?.tail_n !== undefined) return { last: exact(option.tail_n, 'offset') }
  if (option?.timestamp !== undefined) return { time: exact(option.timestamp, 'offset') }
  return option?.policy === 'MIN' ? 'min' : undefined
}

/**
 * SyncLiteSubscription: a client's set of lite topics, whole or by its changes. A lite topic is a path below the topic;
 * each is one place that the clients of a group draw from.
 * @throws Fault 'invalid' about 'topic', 'group' or 'liteTopic', 'limit' about 'liteSubscription'
 */
export const syncLiteSubscription: Unary<SyncLiteSubscriptionRequest> = async (request, asker, hall) => {
  const topic = checkTopic(request.topic)
  const group = checkGroup(request.group)
  const spec = (await hall.groups.of(group, contextOf(asker, hall)))?.lite
  if (spec && spec.topic !== topic) throw new Fault('invalid', `group ${group} is of ${spec.topic}`, { about: 'topic' })
  const quota = spec?.quota ?? QUOTA
  if (request.lite_topic_set.length > quota) {
    throw new Fault('limit', `over ${quota} lite topics`, { about: 'liteSubscription' })
  }
  const patterns = request.lite_topic_set.map((name) => joinPath(topic, checkLiteTopic(name)))
  const { client } = asker
  const inbox = await client.inbox(group, asker, hall)
  const { action = 'PARTIAL_ADD' } = request
  const whole = action === 'COMPLETE_ADD' || action === 'COMPLETE_REMOVE'
  const adds = action === 'PARTIAL_ADD' || action === 'COMPLETE_ADD'
  const from = startOf(request.offset_option)
  const add = patterns.map(
    (pattern): Binding => ({ pattern, share: group, retained: 'skip', ...(from !== undefined && { from }) }),
  )
  const remove = patterns.map((pattern) => ({ pattern, share: group }))
  const bind = { kind: 'bind', ...inbox, add: adds ? add : [], remove: whole ? 'others' : adds ? [] : remove } as const
  const { granted } = await hall.gateway.handle(bind, contextOf(asker, hall)).catch(overQuota)
  granted.filter(Fault.is).forEach(overQuota)
  if (action === 'COMPLETE_REMOVE') {
    client.forgetInbox(group)
    const what = { ...inbox, expiry: 0, will: 'drop' as const }
    await hall.gateway.handle({ kind: 'leave', what }, contextOf(asker, hall))
  }
  return { status: ok }
}

/** The broker's bounds in the words of this protocol. @throws always */
const overQuota = (error: unknown): never => {
  const fault = Fault.from(error)
  if (fault.code !== 'limit') throw error
  throw new Fault('limit', fault.message, { about: fault.about === 'share' ? 'liteTopic' : 'liteSubscription' })
}

import {
  type AdminAction,
  type AdminResults,
  type CommandOf,
  type Context,
  Fault,
  type Member,
  type Queue,
  type Replies,
} from '@sluice/core'
import type { Core } from './core.ts'
import { unsupported } from './errors.ts'
import type { GroupState } from './groups.ts'
import { wakeNext } from './popWake.ts'
import { topicOf } from './topicCommands.ts'

/** A member that was silent for so long is gone. Source: RocketMQ's channelExpiredTimeout */
export const SILENT_MS = 120_000
const SWEEP_MS = 10_000
const LOCK_MS = 60_000
/** Names of one heartbeat. */
const MEMBERSHIP_MAX = 1024

interface Joined {
  member: Member
  readonly groups: Set<GroupState>
}

/** Who consumes and produces, and who holds which queue of an ordered group. In memory: heartbeats bring it back. */
export class Members {
  readonly #core: Core
  readonly #joined = new Map<string, Joined>()
  readonly #locks = new Map<string, { readonly client: string; readonly until: number }>()
  readonly #stop: () => void

  constructor(core: Core) {
    this.#core = core
    this.#stop = core.clock.every(SWEEP_MS, () => this.#sweep())
  }

  close(): void {
    this.#stop()
  }

  /** @throws Fault 'invalid' about 'group' or 'topic', 'limit' */
  heartbeat({ member }: CommandOf<'heartbeat'>, { session }: Context): Replies['heartbeat'] {
    const { consumes, produces } = member
    if (consumes.length + produces.length > MEMBERSHIP_MAX)
      throw new Fault('limit', `over ${MEMBERSHIP_MAX} groups in one heartbeat`, { about: 'group' })
    const groups = new Map(consumes.map((one) => [this.#core.state.group(one.group), one]))
    const before = this.#joined.get(session.id)
    const { client, protocol, language, version } = session
    const known: Member = {
      client,
      session: session.id,
      protocol,
      language,
      version,
      address: session.remoteAddress,
      seenAt: this.#core.clock.now(),
      member,
    }
    this.#joined.set(session.id, { member: known, groups: new Set(groups.keys()) })
    for (const group of before?.groups ?? []) if (!groups.has(group)) this.#left(group, session.id)
    for (const [group, { topics, from }] of groups) {
      let changed = !group.members.has(session.id)
      group.members.add(session.id)
      for (const { topic, filter, version: at } of topics) {
        const subscription = group.subscriptions.get(topic)
        // An older set of subscriptions of another member does not undo a newer one.
        if (subscription && subscription.version > at) continue
        if (!subscription || expressionOf(subscription.filter) !== expressionOf(filter)) changed = true
        group.subscriptions.set(topic, { filter, from, version: at })
      }
      if (changed) this.#rebalance(group)
    }
    return {}
  }

  /** Its memberships end, and what it holds goes back. */
  leaveAll(session: string): void {
    const joined = this.#joined.get(session)
    this.#joined.delete(session)
    for (const group of joined?.groups ?? []) this.#left(group, session)
    this.#release(session)
  }

  leaveGroup(name: string, session: string): void {
    const joined = this.#joined.get(session)
    const group = this.#core.state.groups.get(name)
    if (!joined || !group) return
    const { member } = joined.member
    if (member.produces.includes(name)) {
      const produces = member.produces.filter((one) => one !== name)
      joined.member = { ...joined.member, member: { ...member, produces } }
    }
    if (joined.groups.delete(group)) this.#left(group, session)
    this.#release(session, group)
  }

  /** Whether somebody is here who produces in this group. */
  produces(group: string): boolean {
    for (const { member } of this.#joined.values()) if (member.member.produces.includes(group)) return true
    return false
  }

  /** Puts a question to a client, at the connection of its that was heard of last. @throws Fault 'notFound' about 'members' */
  async ask({ client, notice }: Extract<AdminAction, { do: 'ask' }>): Promise<AdminResults['ask']> {
    const known = [...this.#joined.values()].map(({ member }) => member).filter((member) => member.client === client)
    const last = known.sort((a, b) => b.seenAt - a.seenAt)[0]
    if (!last) throw new Fault('notFound', `no client ${client.slice(0, 255)} is here`, { about: 'members' })
    return { answer: await this.#core.notify({ session: last.session }, notice) }
  }

  members({ group }: CommandOf<'members'>): Replies['members'] {
    const all = [...this.#joined.values()]
    const found = this.#core.state.groups.get(group ?? '')
    if (group === undefined) return { members: all.map(({ member }) => member) }
    return {
      members: all
        .filter(({ groups, member }) => (found && groups.has(found)) || member.member.produces.includes(group))
        .map(({ member }) => member),
    }
  }

  lock({ group, queues, hold }: CommandOf<'lock'>, { session }: Context): Replies['lock'] {
    const now = this.#core.clock.now()
    const locked: Queue[] = []
    for (const queue of queues) {
      const key = `${group}\x00${queue.topic}\x00${queue.index}`
      const lock = this.#locks.get(key)
      const free = !lock || lock.until <= now || lock.client === session.client
      if (!free) continue
      if (hold) {
        topicOf(this.#core, queue.topic)
        this.#locks.set(key, { client: session.client, until: now + LOCK_MS })
        locked.push(queue)
      } else this.#locks.delete(key)
    }
    return { locked }
  }

  /** AVG and AVG_BY_CIRCLE over the members in the order of their client ids; broadcast and AVG_NONE give all. */
  assign(command: CommandOf<'assign'>, { session }: Context): Replies['assign'] {
    const topic = topicOf(this.#core, command.topic)
    const { spec } = this.#core.state.group(command.group)
    const set = spec.modes?.[command.topic] ?? { mode: 'pull', share: 0 }
    const all = topic.queues.map(({ queue }) => queue)
    const { mode } = set
    if (command.model === 'broadcast') return { queues: all.map((queue) => ({ queue, mode })) }
    const clients = [
      ...new Set(this.members({ kind: 'members', group: command.group }).members.map(({ client }) => client)),
    ].sort()
    const index = clients.indexOf(session.client)
    if (index < 0) return { queues: undefined }
    if (mode === 'pop' && (set.share <= 0 || set.share >= clients.length - 1))
      return { queues: [{ queue: { ...all[0]!, index: -1 }, mode }] }
    const share = pick(command.strategy, all, clients.length, index)
    return { queues: share.map((queue) => ({ queue, mode })) }
  }

  #left(group: GroupState, session: string): void {
    if (group.members.delete(session)) this.#rebalance(group)
  }

  #rebalance(group: GroupState): void {
    const name = group.spec.group
    const to = { group: name, role: 'consumes', one: false } as const
    // A client that cannot be told finds out at its next rebalance.
    void this.#core.notify(to, { kind: 'rebalance', group: name }).catch(() => undefined)
  }

  /** Messages held as long as the session lives are there again, counted as an attempt. */
  #release(session: string, group?: GroupState): void {
    const now = this.#core.clock.now()
    for (const groupTopic of this.#core.released(session, group)) {
      for (const cursor of groupTopic.cursors.values()) {
        for (const held of cursor.held.values()) if (held.session === session) cursor.giveBack(held, now)
      }
      wakeNext(groupTopic)
    }
  }

  #sweep(): void {
    const now = this.#core.clock.now()
    for (const [id, { member }] of this.#joined) if (member.seenAt + SILENT_MS <= now) this.leaveAll(id)
    for (const [key, { until }] of this.#locks) if (until <= now) this.#locks.delete(key)
  }
}

const expressionOf = (filter: { readonly kind: string; readonly expression: string } | undefined): string =>
  filter ? `${filter.kind} ${filter.expression}` : ''

/** Source: RocketMQ's AllocateMessageQueueAveragely and …ByCircle */
const pick = (strategy: string, queues: readonly Queue[], clients: number, index: number): readonly Queue[] => {
  if (strategy === 'AVG_BY_CIRCLE') return queues.filter((_, at) => at % clients === index)
  if (strategy !== 'AVG' && strategy !== '') throw unsupported(`the strategy ${strategy.slice(0, 64)}`, 'strategy')
  const rest = queues.length % clients
  const size = queues.length <= clients ? 1 : Math.floor(queues.length / clients) + (index < rest ? 1 : 0)
  const start = index < rest ? index * size : index * size + rest
  return queues.slice(start, start + size)
}

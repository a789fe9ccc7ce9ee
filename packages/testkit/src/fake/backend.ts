import {
  type Batch,
  type Clock,
  type CommandOf,
  type Context,
  compileFilter,
  type Delivered,
  Fault,
  type GroupSpec,
  type Half,
  type Kind,
  type Membership,
  type Message,
  type Offset,
  type Receipt,
  type Replies,
  type ReplyTo,
  type Session,
  type Sessions,
  type Source,
  type Stored,
  type StoredMessage,
  type TopicSpec,
} from '@sluice/core'
import { administer, groupsOf, memberOf } from './admin.ts'
import { Inboxes } from './inboxes.ts'
import { fieldsOf, Log, NODE } from './log.ts'
import { Pool } from './pools.ts'
import { Waiters } from './waiters.ts'

export interface MemoryOptions {
  /** Default true: a publish to an unknown topic makes it. */
  readonly autoCreate?: boolean
  /** Topics that exist from the beginning, by name with `queues` queues or in full. */
  readonly topics?: readonly (string | TopicSpec)[]
  readonly groups?: readonly GroupSpec[]
  /** Queues of a topic, default 1. */
  readonly queues?: number
}

type Execute = { readonly [K in Kind]?: (command: CommandOf<K>, context: Context) => Promise<ReplyTo<K>> | ReplyTo<K> }

export const batchOf = (delivered: readonly Delivered[]): Batch => ({
  count: delivered.length,
  bytes: undefined,
  [Symbol.iterator]: () => delivered[Symbol.iterator](),
})

const defaultGroup = (group: string): GroupSpec => ({ group, fifo: false, maxAttempts: 16, backoff: [10_000] })

/**
 * A broker in memory for tests: small and honest, for one process and without durability. It does what the model says
 * for groups, inboxes, offsets, transactions and timers; what it does not know it refuses with `unsupported`.
 */
export class MemoryBackend {
  readonly log: Log
  readonly #clock: Clock
  readonly #sessions: Sessions
  readonly #waiters: Waiters
  readonly #inboxes: Inboxes
  readonly #groups = new Map<string, GroupSpec>()
  readonly #pools = new Map<string, Map<string, Pool>>() // by topic, by group
  readonly #members = new Map<Session, { readonly member: Membership; readonly seenAt: number }>()
  readonly #offsets = new Map<string, Offset>()
  readonly #halves = new Map<number, { readonly message: StoredMessage; readonly group: string; checked: boolean }>()
  readonly #later = new Map<string, { readonly message: Message; readonly stop: () => void }>()
  readonly #once = new Map<string, { readonly reply: Replies['publish']; readonly until: number }>()
  readonly #locks = new Map<string, Session>()

  constructor(options: MemoryOptions, clock: Clock, sessions: Sessions) {
    const queues = options.queues ?? 1
    this.#clock = clock
    this.#sessions = sessions
    this.#waiters = new Waiters(clock)
    this.log = new Log({
      autoCreate: options.autoCreate ?? true,
      queues,
      now: () => clock.now(),
      topics: (options.topics ?? []).map((topic) =>
        typeof topic === 'string' ? { topic, queues, type: 'mixed' } : topic,
      ),
    })
    for (const spec of options.groups ?? []) this.#groups.set(spec.group, spec)
    this.#inboxes = new Inboxes({
      now: () => clock.now(),
      after: (delay, run) => clock.after(delay, run),
      wake: () => this.#waiters.wake(),
      wakeAt: (at) => this.#waiters.wakeAt(at),
      publish: (message) => void this.#store(message, undefined),
      dead: (inbox, message) => this.#bury(inbox, message),
      takenOver: (session) =>
        void sessions.notify({ session: session.id }, { kind: 'goAway', reason: 'takenOver' }).catch(() => undefined),
    })
  }

  /** Polls that wait. */
  get parked(): number {
    return this.#waiters.size
  }

  close(): void {
    this.#waiters.close()
  }

  /** The session is gone: its memberships leave, what it held while it lived comes back. */
  release(session: Session): void {
    this.#members.delete(session)
    for (const [queue, holder] of this.#locks) if (holder === session) this.#locks.delete(queue)
    for (const groups of this.#pools.values()) for (const pool of groups.values()) pool.release(session)
    this.#inboxes.release(session)
    this.#waiters.wake()
  }

  async execute<K extends Kind>(command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> {
    const execute = this.#execute[command.kind as K]
    if (!execute) throw new Fault('unsupported', `the memory backend knows no ${command.kind}`)
    return execute(command, context)
  }

  readonly #execute: Execute = {
    publish: (command, context) => this.#publish(command, context),
    pop: (command, context) => this.#pop(command, context),
    read: (command, context) => this.#read(command, context),
    settle: (command) => this.#settle(command),
    endTransaction: ({ half, resolution }, { session }) => {
      const held = this.#halves.get(half.place)
      if (!held) throw new Fault('notFound', 'no such transaction', { about: 'transaction' })
      if (resolution === 'unknown') held.checked = false
      else this.#halves.delete(half.place)
      const { half: _, ...message } = fieldsOf(held.message)
      if (resolution === 'commit') this.#store(message, session)
      return {}
    },
    recall: ({ handle }) => {
      const waiting = this.#later.get(handle)
      if (!waiting) throw new Fault('notFound', 'nothing to recall', { about: 'handle' })
      waiting.stop()
      this.#later.delete(handle)
      return { id: waiting.message.id ?? handle }
    },
    commitOffset: ({ queue, group, offset }) => {
      this.log.queue(queue)
      this.#offsets.set(`${group} ${queue.topic} ${queue.index}`, offset)
      return {}
    },
    queryOffset: ({ queue, at }) => {
      const messages = this.log.queue(queue)
      if (typeof at === 'object' && 'group' in at) {
        const offset = this.#offsets.get(`${at.group} ${queue.topic} ${queue.index}`)
        if (offset === undefined) throw new Fault('notFound', 'no offset of this group', { about: 'group' })
        return { offset }
      }
      const offset = this.log.begin(messages, at)
      const storedAt = messages[offset]?.storedAt
      return { offset, ...(storedAt !== undefined && { storedAt }) }
    },
    open: ({ inbox, fresh, expiry, will }, { session }) => this.#inboxes.open(inbox, fresh, expiry, will, session),
    bind: (command) => this.#bind(command),
    heartbeat: ({ member }, { session }) => {
      this.#members.set(session, { member, seenAt: this.#clock.now() })
      this.#sessions.joined(session, member)
      return {}
    },
    leave: ({ what }, { session }) => {
      if (what === 'all') this.release(session)
      else if ('inbox' in what) this.#inboxes.leave(this.#inboxes.at(what.inbox, what.epoch), what.will, what.expiry)
      else this.#leaveGroup(session, what.group)
      return {}
    },
    topic: ({ topic }) => this.log.info(topic),
    group: ({ group, progress }) => ({
      ...this.#group(group),
      ...(progress && { progress: this.#progress(group, progress.topic) }),
    }),
    assign: ({ topic }) => ({ queues: this.log.info(topic).routes.map(({ queue }) => ({ queue, mode: 'pull' })) }),
    members: ({ group }) => ({
      members: [...this.#members]
        .filter(([, { member }]) => group === undefined || groupsOf(member).includes(group))
        .map(([session, { member, seenAt }]) => memberOf(session, member, seenAt)),
    }),
    lock: ({ group, queues, hold }, { session }) => ({
      locked: queues.filter((queue) => {
        const key = `${group} ${queue.topic} ${queue.index}`
        const holder = this.#locks.get(key)
        if (holder && holder !== session) return false
        if (hold) this.#locks.set(key, session)
        else this.#locks.delete(key)
        return true
      }),
    }),
    admin: ({ action }) => administer(action, { log: this.log, groups: this.#groups, pools: this.#pools }),
  }

  // ── In ──────────────────────────────────────────────────────────────────────────────────────

  #publish(command: CommandOf<'publish'>, { session }: Context): Replies['publish'] {
    const { once, accepts = [] } = command
    const key = once && ('key' in once ? `key ${once.key}` : `slot ${once.inbox} ${once.slot}`)
    const before = key === undefined ? undefined : this.#once.get(key)
    if (before && before.until > this.#clock.now()) return before.reply
    for (const { topic } of command.messages) if (!this.#isInbox(command.into)) this.log.check(topic)
    for (const receipt of accepts) this.#settleOne(receipt, { kind: 'accept' })
    const stored = command.messages.map((message) => {
      try {
        return this.#accept(message, command, session)
      } catch (error) {
        return Fault.from(error)
      }
    })
    const reply: Replies['publish'] = { stored: command.oneway ? [] : stored }
    if (once && 'key' in once) this.#once.set(key!, { reply, until: this.#clock.now() + once.keep })
    else if (once) {
      this.#inboxes.at(once.inbox, once.epoch).incoming.set(once.slot, reply)
      this.#once.set(key!, { reply, until: Number.POSITIVE_INFINITY })
    }
    this.#waiters.wake()
    return reply
  }

  #isInbox(into: CommandOf<'publish'>['into']): into is { inbox: string } {
    return into !== undefined && 'inbox' in into
  }

  #accept(message: Message, command: CommandOf<'publish'>, session: Session): Stored {
    const { into } = command
    if (this.#isInbox(into)) {
      const stored = this.log.aside(message)
      this.#inboxes.put(into.inbox, stored)
      return storedOf(stored)
    }
    if (message.half) {
      const stored = this.log.aside(message)
      const group = command.group ?? ''
      const { id, place, offset } = stored
      const half: Half = { node: NODE, topic: message.topic, group, id, place, offset }
      this.#halves.set(place, { message: stored, group, checked: true })
      this.#clock.after(message.half.checkAfter ?? 6_000, () => {
        const waiting = this.#halves.get(place)
        if (waiting) waiting.checked = false
        this.#waiters.wake()
      })
      return { ...storedOf(stored), half }
    }
    if (message.deliverAt !== undefined && message.deliverAt > this.#clock.now()) {
      const waiting = this.log.aside(message)
      const handle = String(waiting.place)
      const stop = this.#clock.after(message.deliverAt - this.#clock.now(), () => {
        this.#later.delete(handle)
        this.#store(fieldsOf(waiting), session)
      })
      this.#later.set(handle, { message: waiting, stop })
      return { ...storedOf(waiting), recallHandle: handle }
    }
    return storedOf(this.#store(message, session, into))
  }

  #store(message: Message, by: Session | undefined, into?: Parameters<Log['append']>[1]): StoredMessage {
    const stored = this.log.append(message, into)
    for (const pool of this.#pools.get(message.topic)?.values() ?? []) pool.offer(stored)
    this.#inboxes.fan(stored, by)
    this.#waiters.wake()
    return stored
  }

  #bury(who: string, message: StoredMessage): void {
    this.#store({ ...fieldsOf(message), topic: `%DLQ%${who}` }, undefined)
  }

  // ── Out ─────────────────────────────────────────────────────────────────────────────────────

  async #pop(command: CommandOf<'pop'>, { session, signal }: Context): Promise<Replies['pop']> {
    const { source, max, wait } = command
    const taken = await this.#waiters.wait(
      () => {
        if (max === 0) return this.#look(source, 1).length > 0 ? [] : undefined
        const delivered = this.#take(source, command, session)
        return delivered.length > 0 ? delivered : undefined
      },
      wait,
      signal,
    )
    return { batch: batchOf(taken ?? []), more: max === 0 && taken !== undefined }
  }

  #take(source: Source, { max, invisible, fifo }: CommandOf<'pop'>, session: Session): readonly Delivered[] {
    if (source.kind === 'inbox') return this.#inboxes.take(this.#inboxes.at(source.inbox, source.epoch), max, invisible)
    if (source.kind === 'halves') return this.#undecided(source, max, true)
    const { filter, queue } = source
    return this.#pool(source.topic, source.group).take({ max, invisible, fifo, filter, queue, session })
  }

  #look(source: Source, max: number): readonly Delivered[] {
    if (source.kind === 'inbox') return this.#inboxes.peek(this.#inboxes.at(source.inbox, source.epoch), max)
    if (source.kind === 'halves') return this.#undecided(source, max, false)
    return this.#pool(source.topic, source.group).peek(max)
  }

  #undecided({ topic, group }: Extract<Source, { kind: 'halves' }>, max: number, take: boolean): readonly Delivered[] {
    const waiting = [...this.#halves.values()].filter(
      (half) => !half.checked && half.group === group && half.message.topic === topic,
    )
    return waiting.slice(0, max).map((waits) => {
      if (take) waits.checked = true
      const { message } = waits
      const { id, place, offset } = message
      return { message, attempt: 1, half: { node: NODE, topic, group, id, place, offset } }
    })
  }

  async #read(command: CommandOf<'read'>, { signal }: Context): Promise<Replies['read']> {
    const { from, max } = command
    if (from.by === 'source') return reading(this.#look(from.source, max))
    if (from.by === 'place') {
      const message = this.log.at(from.place)
      if (!message) throw new Fault('notFound', 'no message there', { about: 'message' })
      return reading([{ message, attempt: 1 }])
    }
    if (from.by === 'key') {
      const found = this.log
        .of(from.topic)
        .filter(({ id, keys = [], storedAt }) => {
          const named = from.unique ? id === from.key : keys.includes(from.key)
          return named && storedAt >= from.after && storedAt <= from.before
        })
        .slice(0, max)
      return reading(found.map((message) => ({ message, attempt: 1 })))
    }
    const { queue, offset, group } = from
    if (command.commit !== undefined && group !== undefined)
      this.#offsets.set(`${group} ${queue.topic} ${queue.index}`, command.commit)
    const messages = this.log.queue(queue)
    const bounds = () => ({ min: 0, max: this.log.queue(queue).length })
    if (offset > messages.length || offset < 0) {
      return { batch: batchOf([]), next: Math.max(0, Math.min(offset, messages.length)), ...bounds() }
    }
    const matches = compileFilter(command.filter)
    const found = await this.#waiters.wait(
      () => {
        const all = this.log.queue(queue)
        return all.length > offset ? all.slice(offset, offset + max) : undefined
      },
      command.wait,
      signal,
    )
    const delivered = (found ?? []).filter(matches).map((message) => ({ message, attempt: 1 }))
    return { batch: batchOf(delivered), next: offset + (found?.length ?? 0), ...bounds() }
  }

  #settle({ receipts, outcome }: CommandOf<'settle'>): Replies['settle'] {
    const renewed: (Receipt | undefined)[] = []
    const failed: { at: number; fault: Fault }[] = []
    receipts.forEach((receipt, at) => {
      try {
        renewed[at] = this.#settleOne(receipt, outcome)
      } catch (error) {
        failed.push({ at, fault: Fault.from(error) })
      }
    })
    this.#waiters.wake()
    return { failed, ...(renewed.some((receipt) => receipt !== undefined) && { renewed }) }
  }

  #settleOne(receipt: Receipt, outcome: CommandOf<'settle'>['outcome']): Receipt | undefined {
    if (receipt.of === 'group') {
      const message = this.log.at(receipt.place)
      // What was pulled is sent back by its place alone.
      return this.#pool(receipt.topic || (message?.topic ?? ''), receipt.group).settle(receipt, outcome, message)
    }
    this.#inboxes.settle(receipt, outcome)
    if (receipt.way === 'in') this.#once.delete(`slot ${receipt.inbox} ${receipt.slot}`)
    return undefined
  }

  // ── Who ─────────────────────────────────────────────────────────────────────────────────────

  #bind({ inbox: name, epoch, add, remove }: CommandOf<'bind'>): Replies['bind'] {
    const inbox = this.#inboxes.at(name, epoch)
    const kept = new Set(add.map(({ pattern, share }) => `${share} ${pattern}`))
    const others = [...inbox.bindings.values()]
      .map(({ binding }) => binding)
      .filter(({ pattern, share }) => !kept.has(`${share} ${pattern}`))
    const existed =
      remove === 'others' ? [] : remove.map(({ pattern, share }) => this.#inboxes.unbind(inbox, pattern, share))
    if (remove === 'others') for (const { pattern, share } of others) this.#inboxes.unbind(inbox, pattern, share)
    const granted = add.map((binding) => {
      try {
        this.#inboxes.bind(inbox, binding, ({ pattern, from }) => {
          const messages = this.log.of(pattern.split('/')[0]!)
          return messages.slice(this.log.begin(messages, from!))
        })
        return true as const
      } catch (error) {
        return Fault.from(error)
      }
    })
    return { granted, existed }
  }

  #group(group: string): GroupSpec {
    return this.#groups.get(group) ?? defaultGroup(group)
  }

  #pool(topic: string, group: string): Pool {
    this.log.info(topic)
    let groups = this.#pools.get(topic)
    if (!groups) this.#pools.set(topic, (groups = new Map()))
    let pool = groups.get(group)
    if (pool) return pool
    pool = new Pool(topic, () => this.#group(group), {
      now: () => this.#clock.now(),
      wakeAt: (at) => this.#waiters.wakeAt(at),
      dead: (name, message) => this.#bury(name, message),
      sendBack: (name, message, after) => {
        const again = { ...fieldsOf(message), topic: `%RETRY%${name}` }
        if (after <= 0) this.#store(again, undefined)
        else this.#clock.after(after, () => this.#store(again, undefined))
      },
    })
    groups.set(group, pool)
    const consumers = [...this.#members.values()].flatMap(({ member }) => member.consumes)
    const from = consumers.find((one) => one.group === group)?.from ?? 'min'
    const messages = this.log.of(topic)
    for (const message of messages.slice(this.log.begin(messages, from))) pool.offer(message)
    return pool
  }

  #leaveGroup(session: Session, group: string): void {
    const known = this.#members.get(session)
    if (!known) return
    const { produces, consumes } = known.member
    const member: Membership = {
      produces: produces.filter((name) => name !== group),
      consumes: consumes.filter((one) => one.group !== group),
    }
    this.#members.set(session, { ...known, member })
    this.#sessions.joined(session, member)
  }

  #progress(group: string, topic: string | undefined): NonNullable<Replies['group']['progress']> {
    const topics = topic === undefined ? [...this.#pools].filter(([, groups]) => groups.has(group)) : [[topic]]
    return topics.flatMap(([name]) =>
      this.log.info(name as string).routes.map(({ queue }) => {
        const max = this.log.has(queue.topic) ? this.log.queue(queue).length : 0
        const pool = this.#pools.get(queue.topic)?.get(group)
        const stored = this.#offsets.get(`${group} ${queue.topic} ${queue.index}`)
        return { queue, committed: stored ?? pool?.first(queue.index) ?? max, max, leased: pool?.leased ?? 0 }
      }),
    )
  }
}

const storedOf = ({ id, queue, offset, place }: StoredMessage): Stored => ({ id, queue, offset, place })
const reading = (delivered: readonly Delivered[]): Replies['read'] => ({
  batch: batchOf(delivered),
  next: 0,
  min: 0,
  max: 0,
})

import {
  type Binding,
  checkPattern,
  compileFilter,
  type Delivered,
  type EpochMs,
  Fault,
  joinPath,
  type Matches,
  type Message,
  type Ms,
  type Outcome,
  PatternTrie,
  type Replies,
  type Session,
  type Slot,
  type StoredMessage,
} from '@sluice/core'
import { NODE } from './log.ts'
import { expired } from './pools.ts'

interface Item {
  readonly message: StoredMessage
  readonly notes: readonly string[]
  readonly attempt: number
  readonly visibleAt: EpochMs
  readonly retained: boolean
  /** Drawn from there; it goes back there when the inbox goes. */
  readonly share?: Share
}

interface Share {
  readonly key: string
  readonly ready: Item[]
}

interface Bound {
  readonly binding: Binding
  readonly matches: Matches
  readonly inbox: Inbox | undefined
  readonly share: Share | undefined
}

interface Out {
  item: Item
  received: boolean
  /** Given to the client that is here now. */
  told: boolean
}

export interface Will {
  readonly message: Message
  readonly after: Ms
}

interface Inbox {
  readonly name: string
  epoch: number
  session: Session | undefined
  expiry: Ms
  will: Will | undefined
  readonly bindings: Map<string, Bound>
  ready: Item[]
  readonly out: Map<number, Out>
  readonly incoming: Map<number, unknown>
  lastSlot: number
  stopExpiry: (() => void) | undefined
}

export interface InboxHooks {
  readonly now: () => EpochMs
  readonly after: (delay: Ms, run: () => void) => () => void
  readonly wake: () => void
  readonly wakeAt: (at: EpochMs) => void
  readonly publish: (message: Message) => void
  readonly dead: (inbox: string, message: StoredMessage) => void
  readonly takenOver: (session: Session) => void
}

const SLOTS = 65_535
/** How long the will of a client waits that was sent away. */
const KEEP_WILL: Ms = 30_000
const keyOf = (pattern: string, share: string | undefined): string => `${share ?? ''} ${pattern}`

/** Clients' own queues: what feeds them, what was given under which number, and for how long they stay. */
export class Inboxes {
  readonly #hooks: InboxHooks
  readonly #inboxes = new Map<string, Inbox>()
  readonly #shares = new Map<string, Share>()
  readonly #trie = new PatternTrie<Bound>()
  readonly #retained = new Map<string, StoredMessage>()
  /** Wills that wait for their time, by inbox. */
  readonly #wills = new Map<string, { readonly will: Will; readonly stop: () => void }>()
  #epochs = 0

  constructor(hooks: InboxHooks) {
    this.#hooks = hooks
  }

  open(name: string, fresh: boolean, expiry: Ms, will: Will | undefined, session: Session): Replies['open'] {
    const before = this.#inboxes.get(name)
    before?.stopExpiry?.()
    if (before?.session && before.session !== session) this.#hooks.takenOver(before.session)
    // One without an expiry ends with its session.
    const anew = fresh || (before?.expiry === 0 && (before.session !== session || expiry > 0))
    this.#returned(name, before, anew)
    if (before && anew) this.#delete(before)
    const inbox = this.#inboxes.get(name) ?? this.#make(name)
    inbox.epoch = ++this.#epochs
    inbox.session = session
    inbox.expiry = expiry
    inbox.will = will
    for (const out of inbox.out.values()) out.told = false
    this.#hooks.wake() // whoever still waits with the old epoch learns it
    return { existed: before !== undefined && !anew, epoch: inbox.epoch, incoming: [...inbox.incoming.keys()] }
  }

  /** @throws Fault 'notFound', 'conflict' when another client took it over */
  at(name: string, epoch?: number): Inbox {
    const inbox = this.#inboxes.get(name)
    if (!inbox) throw new Fault('notFound', `no inbox ${name}`, { about: 'inbox' })
    if (epoch !== undefined && inbox.epoch !== epoch) throw new Fault('conflict', `inbox ${name} was taken over`)
    return inbox
  }

  bind(inbox: Inbox, binding: Binding, backlog: (binding: Binding) => readonly StoredMessage[]): boolean {
    checkPattern(binding.pattern)
    const key = keyOf(binding.pattern, binding.share)
    const existed = this.unbind(inbox, binding.pattern, binding.share)
    const share = binding.share === undefined ? undefined : this.#share(key)
    const bound: Bound = { binding, matches: compileFilter(binding.filter), inbox: share ? undefined : inbox, share }
    inbox.bindings.set(key, bound)
    // A share has one entry however many draw from it, and it outlives them.
    if (!share || !this.#feeds(key)) this.#trie.add(binding.pattern, bound)
    if (binding.from !== undefined && !existed)
      for (const message of backlog(binding)) this.#offer(inbox, bound, message)
    if (!share && (binding.retained === 'send' || (binding.retained === 'ifNew' && !existed)))
      this.#recall(inbox, bound)
    this.#hooks.wake()
    return existed
  }

  unbind(inbox: Inbox, pattern: string, share?: string): boolean {
    const bound = inbox.bindings.get(keyOf(pattern, share))
    if (!bound) return false
    inbox.bindings.delete(keyOf(pattern, share))
    if (!bound.share) this.#trie.remove(pattern, bound)
    return true
  }

  /** A message arrived: once into each inbox that any of its bindings lets it into. */
  fan(message: StoredMessage, by: Session | undefined): void {
    const full = joinPath(message.topic, message.path)
    if (message.retain) {
      if (message.body.length === 0) this.#retained.delete(full)
      else this.#retained.set(full, message)
    }
    const notes = new Map<Inbox | Share, string[]>()
    this.#trie.match(full, ({ binding, matches, inbox, share }) => {
      const target = share ?? inbox!
      if (!matches(message) || (binding.noLocal && by !== undefined && inbox?.session === by)) return
      const known = notes.get(target)
      const note = binding.note === undefined ? [] : [binding.note]
      if (known) known.push(...note)
      else notes.set(target, note)
    })
    for (const [target, said] of notes)
      target.ready.push(this.#item(message, said, 'key' in target ? target : undefined))
  }

  /** Straight into one inbox. @throws Fault 'notFound' */
  put(name: string, message: StoredMessage): void {
    this.at(name).ready.push(this.#item(message, [], undefined))
  }

  take(inbox: Inbox, max: number, invisible: Ms | 'session'): readonly Delivered[] {
    const delivered: Delivered[] = []
    for (const [slot, out] of inbox.out) {
      if (out.told || delivered.length >= max) continue
      out.told = true
      out.item = { ...out.item, attempt: out.item.attempt + 1 }
      delivered.push(this.#delivered(inbox, out.item, slot, out.received))
    }
    const sources = [inbox.ready, ...[...inbox.bindings.values()].flatMap(({ share }) => (share ? [share.ready] : []))]
    for (const ready of sources) {
      for (let at = 0; at < ready.length && delivered.length < max; ) {
        const item = ready[at]!
        const { expiresAt } = item.message
        if (expiresAt !== undefined && expiresAt <= this.#hooks.now()) {
          ready.splice(at, 1)
          continue
        }
        if (item.visibleAt > this.#hooks.now()) at++
        else {
          const slot = invisible === 0 ? undefined : this.#slot(inbox)
          if (slot === -1) return delivered
          ready.splice(at, 1)
          if (slot !== undefined) inbox.out.set(slot, { item, received: false, told: true })
          delivered.push(this.#delivered(inbox, item, slot, false))
        }
      }
    }
    return delivered
  }

  peek(inbox: Inbox, max: number): readonly Delivered[] {
    return inbox.ready.slice(0, max).map((item) => this.#delivered(inbox, item, undefined, false))
  }

  /** @throws Fault 'receiptExpired', 'conflict' */
  settle(slot: Slot, outcome: Outcome): void {
    const inbox = this.at(slot.inbox, slot.epoch)
    if (slot.way === 'in') {
      if (!inbox.incoming.delete(slot.slot)) throw expired()
      return
    }
    const out = inbox.out.get(slot.slot)
    if (!out) throw expired()
    if (outcome.kind === 'received') {
      out.received = true
      return
    }
    inbox.out.delete(slot.slot)
    const { item } = out
    const limit = outcome.kind === 'retry' && outcome.counts ? outcome.limit : undefined
    if (outcome.kind === 'dead' || (limit !== undefined && item.attempt >= limit)) {
      this.#hooks.dead(inbox.name, item.message)
    } else if (outcome.kind === 'retry') {
      const visibleAt = this.#hooks.now() + (outcome.after ?? 0)
      const ready = item.share?.ready ?? inbox.ready
      ready.unshift({ ...item, attempt: item.attempt + (outcome.counts ? 1 : 0), visibleAt })
      this.#hooks.wakeAt(visibleAt)
    }
  }

  /** `fire`: after the will's delay, or when the inbox expires; `keep`: not before its client had time to come back. */
  leave(inbox: Inbox, how: 'drop' | 'fire' | 'keep', expiry: Ms | undefined): void {
    const { will } = inbox
    inbox.session = undefined
    inbox.will = undefined
    inbox.expiry = expiry ?? inbox.expiry
    if (will && how === 'fire') this.#tellLater(inbox.name, will, Math.min(will.after, inbox.expiry))
    if (will && how === 'keep') this.#tellLater(inbox.name, will, Math.max(will.after, KEEP_WILL))
    if (inbox.expiry === 0) return this.#delete(inbox)
    inbox.stopExpiry = this.#hooks.after(inbox.expiry, () => this.#delete(inbox))
  }

  /** A session is gone without a word. */
  release(session: Session): void {
    for (const inbox of [...this.#inboxes.values()]) if (inbox.session === session) this.leave(inbox, 'fire', undefined)
  }

  #make(name: string): Inbox {
    const inbox: Inbox = {
      name,
      epoch: 0,
      session: undefined,
      expiry: 0,
      will: undefined,
      bindings: new Map(),
      ready: [],
      out: new Map(),
      incoming: new Map(),
      lastSlot: 0,
      stopExpiry: undefined,
    }
    this.#inboxes.set(name, inbox)
    return inbox
  }

  #delete(inbox: Inbox): void {
    for (const { item } of inbox.out.values()) item.share?.ready.unshift(item)
    for (const { binding } of [...inbox.bindings.values()]) this.unbind(inbox, binding.pattern, binding.share)
    this.#inboxes.delete(inbox.name)
    this.#hooks.wake()
  }

  #tellLater(name: string, will: Will, after: Ms): void {
    if (after <= 0) return this.#hooks.publish(will.message)
    const stop = this.#hooks.after(after, () => {
      this.#wills.delete(name)
      this.#hooks.publish(will.message)
    })
    this.#wills.set(name, { will, stop })
  }

  /** The client is back: a will that waits is called off, unless what it belonged to ends with that. */
  #returned(name: string, before: Inbox | undefined, fresh: boolean): void {
    const waiting = this.#wills.get(name)
    waiting?.stop()
    this.#wills.delete(name)
    const will = before?.will ?? waiting?.will
    if (will && before && (fresh || (before.session && will.after === 0))) this.#hooks.publish(will.message)
  }

  #share(key: string): Share {
    let share = this.#shares.get(key)
    if (!share) this.#shares.set(key, (share = { key, ready: [] }))
    return share
  }

  readonly #fed = new Set<string>()
  /** Whether this share is fed already; from now on it is. */
  #feeds(key: string): boolean {
    if (this.#fed.has(key)) return true
    this.#fed.add(key)
    return false
  }

  #offer(inbox: Inbox, { binding, matches, share }: Bound, message: StoredMessage): void {
    if (!matches(message)) return
    const item = this.#item(message, binding.note === undefined ? [] : [binding.note], share)
    const ready = share?.ready ?? inbox.ready
    ready.push(item)
  }

  #recall(inbox: Inbox, { binding, matches }: Bound): void {
    const one = new PatternTrie<true>()
    one.add(binding.pattern, true)
    for (const [full, message] of this.#retained) {
      one.match(full, () => {
        if (!matches(message)) return
        const notes = binding.note === undefined ? [] : [binding.note]
        inbox.ready.push({ ...this.#item(message, notes, undefined), retained: true })
      })
    }
  }

  #item(message: StoredMessage, notes: readonly string[], share: Share | undefined): Item {
    return { message, notes, attempt: 1, visibleAt: 0, retained: false, ...(share && { share }) }
  }

  /** The next free number; -1 when all are taken. */
  #slot(inbox: Inbox): number {
    if (inbox.out.size >= SLOTS) return -1
    do inbox.lastSlot = (inbox.lastSlot % SLOTS) + 1
    while (inbox.out.has(inbox.lastSlot))
    return inbox.lastSlot
  }

  #delivered(inbox: Inbox, item: Item, slot: number | undefined, received: boolean): Delivered {
    return {
      message: item.message,
      attempt: item.attempt,
      ...(slot !== undefined && {
        receipt: { of: 'inbox', node: NODE, inbox: inbox.name, epoch: inbox.epoch, way: 'out', slot },
      }),
      ...(received && { received }),
      ...(item.retained && { retained: true }),
      ...(item.notes.length > 0 && { notes: item.notes }),
    }
  }
}

import {
  type Binding,
  type CommandOf,
  type Context,
  checkPattern,
  type EpochMs,
  Fault,
  isOpen,
  type Ms,
  type Replies,
} from '@sluice/core'
import { bindingKey, boundOf } from './bindings.ts'
import type { Core } from './core.ts'
import { noInbox, staleEpoch, unsupported } from './errors.ts'
import { allOf, type Few, withOne, withoutOne } from './few.ts'
import { type BoundEvent, writeBound, writeLeft, writeOpened, writeShareGone } from './inboxEvents.ts'
import type { InboxState, ShareState, SlotState, Will } from './inboxes.ts'
import { bind, endInbox, endShare, unbind } from './inboxState.ts'
import { KEEP_WILL_MS, leftOf, type Wills } from './wills.ts'

const NAME_MAX = 1024
/** A share without members keeps its messages so long. */
export const SHARE_KEEP_MS: Ms = 3_600_000
const SWEEP_MS = 10_000

/** @throws Fault 'notFound' about 'inbox', 'conflict' about 'epoch' */
export const inboxOf = (core: Core, name: string, epoch: number): InboxState => {
  const inbox = core.state.inboxes.get(name)
  if (!inbox) throw noInbox(name)
  if (inbox.epoch !== epoch) throw staleEpoch()
  return inbox
}

/** An inbox that a session has open although the broker has forgotten that, or may have. */
export interface Resumption {
  readonly open: CommandOf<'open'>
  readonly epoch: number
  /** Numbers of the deliveries that have come to it and are not settled. */
  readonly holding: readonly number[]
  /** For one that is gone: what its session has bound. */
  readonly bindings: readonly Binding[]
}

/** Numbers that there are. */
const SLOTS_MAX = 65_535

/** Of a delivery whose message the broker has no more. */
const nowhere = { place: 0, size: 0, notes: undefined, attempt: 1, received: false, retained: false, share: undefined }
const isVoid = ({ size }: SlotState): boolean => size === 0

/** One that is not to be kept ends with its session, and its log says too little of it to keep it from here on. */
const isOver = (inbox: InboxState, session: string, expiry: Ms): boolean =>
  !inbox.persistent && (inbox.session !== session || expiry > 0)

/** Opening, leaving and binding inboxes. */
export class Inboxes {
  readonly #core: Core
  readonly #wills: Wills
  /** What each session has open. */
  readonly #open = new Map<string, Few<InboxState>>()
  readonly #stop: () => void

  constructor(core: Core, wills: Wills) {
    this.#core = core
    this.#wills = wills
    this.#stop = core.clock.every(SWEEP_MS, () => this.#sweep())
  }

  close(): void {
    this.#stop()
  }

  /** After a start nobody has anything open: what is not to be kept ends, and the rest begins to expire. */
  recovered(): void {
    const { state } = this.#core
    const now = this.#core.clock.now()
    for (const inbox of [...state.inboxes.values()]) {
      if (inbox.expiry === 0) this.#end(inbox, now, inbox.will && { will: inbox.will, after: KEEP_WILL_MS })
      else {
        if (inbox.leftAt === 0) this.#wills.later(inbox, Math.max(KEEP_WILL_MS, inbox.will?.after ?? 0))
        else if (inbox.will) this.#wills.later(inbox, leftOf(inbox.leftAt + inbox.will.after - now))
        inbox.leftAt ||= now
        this.#expireLater(inbox)
      }
    }
    for (const share of state.shares.values()) if (share.members.size === 0) share.leftAt ||= now
    this.#wills.recovered()
  }

  /** @throws Fault 'limit' or 'invalid' about 'inbox' */
  async open(command: CommandOf<'open'>, { session }: Context): Promise<Replies['open']> {
    const core = this.#core
    const { state, log } = core
    const { inbox: name, expiry } = command
    if (name === '' || Buffer.byteLength(name) > NAME_MAX)
      throw new Fault('invalid', `an inbox name has 1 to ${NAME_MAX} bytes`, { about: 'inbox' })
    log.admit()
    const will = command.will && this.#wills.encode(command.will, session.remoteAddress)
    const known = state.inboxes.get(name)
    if (!known && state.inboxes.size >= state.bounds.inboxes)
      throw new Fault('limit', `there are ${state.inboxes.size} inboxes already`, { about: 'inbox' })
    const fresh = command.fresh || (known !== undefined && isOver(known, session.id, expiry))
    const wasLogged = known?.logged ?? false
    if (known) this.#takeOver(known, session.id, fresh)
    else this.#wills.back(name, session.client, fresh)
    state.epoch = Math.max(core.clock.now(), state.epoch + 1)
    if (known && fresh) endInbox(state, known, state.epoch)
    const inbox = state.inbox(name)
    inbox.epoch = state.epoch
    for (const slot of [...inbox.slots.values()]) if (isVoid(slot)) inbox.slots.delete(slot.slot)
    inbox.redeliverAll()
    inbox.logged = expiry > 0 || will !== undefined || wasLogged
    this.#attach(inbox, session, expiry, will)
    await this.#wrote(inbox, fresh)
    return { existed: known !== undefined && !fresh, epoch: inbox.epoch, incoming: [...inbox.incoming.keys()] }
  }

  #attach(inbox: InboxState, session: Context['session'], expiry: Ms, will: Will | undefined): void {
    inbox.client = session.client
    inbox.session = session.id
    inbox.expiry = expiry
    inbox.leftAt = 0
    inbox.will = will
    inbox.unexpire?.()
    inbox.unexpire = undefined
    this.#opened(session.id, inbox)
  }

  async #wrote({ name: inbox, epoch, expiry, client, will, logged }: InboxState, fresh: boolean): Promise<void> {
    if (!logged) return
    const { log } = this.#core
    log.append(writeOpened({ inbox, epoch, fresh, expiry, client, ...(will && { will }) }))
    await log.done()
  }

  /**
   * Its session had it open when the broker stopped, or when a connection between the two broke, and goes on: nothing is
   * taken over. What is out and did not come to it is handed out again. One that ended is there again under its epoch.
   * @throws Fault 'conflict' about 'epoch' when somebody opened it since; 'limit' about 'inbox'
   */
  async resume({ open, epoch, holding, bindings }: Resumption, { session }: Context): Promise<Replies['open']> {
    const { state, log } = this.#core
    const { inbox: name, expiry } = open
    log.admit()
    const known = state.inboxes.get(name)
    if (known && (known.epoch !== epoch || (known.session ?? session.id) !== session.id)) throw staleEpoch()
    if (!known && state.inboxes.size >= state.bounds.inboxes)
      throw new Fault('limit', `there are ${state.inboxes.size} inboxes already`, { about: 'inbox' })
    const will = open.will && this.#wills.encode(open.will, session.remoteAddress)
    const inbox = known ?? state.inbox(name)
    // In this same turn: what is popped from here on is on its way.
    this.#holdVoid(inbox, holding)
    this.#handOutAgain(inbox, holding)
    if (inbox.session !== session.id) {
      if (known) this.#wills.cancel(known)
      else this.#wills.back(name, session.client, false)
      inbox.epoch = epoch
      state.epoch = Math.max(state.epoch, epoch)
      inbox.logged ||= expiry > 0 || will !== undefined
      this.#attach(inbox, session, expiry, will)
      // In this same turn too: whatever is published from here on is for it.
      const granted = known ? [] : this.#add(inbox, bindings)
      await this.#wrote(inbox, false)
      await this.#bound({ inbox: name, add: bindings.filter((_, at) => granted[at] === true), remove: [] }, inbox)
    }
    return { existed: known !== undefined, epoch, incoming: [...inbox.incoming.keys()] }
  }

  #handOutAgain(inbox: InboxState, holding: readonly number[]): void {
    const there = new Set([...holding, ...inbox.redeliver.map(({ slot }) => slot)])
    for (const slot of inbox.slots.values()) if (!there.has(slot.slot) && !isVoid(slot)) inbox.redeliverOne(slot)
    inbox.wake()
  }

  /**
   * What its client holds and the broker has not, of an inbox that is gone or by a pop that was not yet in the file, keeps
   * its number until it is settled: no other message gets that.
   */
  #holdVoid(inbox: InboxState, holding: readonly number[]): void {
    for (const slot of holding.slice(0, SLOTS_MAX)) if (!inbox.slots.has(slot)) inbox.setSlot({ ...nowhere, slot })
  }

  /** @throws Fault 'conflict' about 'epoch': it was opened anew, and its new holder keeps it */
  async leave(what: { inbox: string; epoch: number; expiry?: Ms; will: 'drop' | 'fire' | 'keep' }): Promise<void> {
    const inbox = this.#core.state.inboxes.get(what.inbox)
    if (!inbox) return
    if (inbox.epoch !== what.epoch) throw staleEpoch()
    this.#left(inbox, what.expiry ?? inbox.expiry, what.will)
    await this.#core.log.done()
  }

  /** A session ended without leaving: the will of each of its inboxes is fired. */
  leaveAll(session: string): void {
    for (const inbox of allOf(this.#open.get(session))) this.#left(inbox, inbox.expiry, 'fire')
    this.#open.delete(session)
  }

  /**
   * `existed`: one for each of `remove`, where that is a list.
   * @throws Fault 'notFound' about 'inbox', 'conflict' about 'epoch'
   */
  async bind(command: CommandOf<'bind'>): Promise<Replies['bind']> {
    const core = this.#core
    core.log.admit()
    const inbox = inboxOf(core, command.inbox, command.epoch)
    const isBound = ({ pattern, share }: { pattern: string; share?: string }) =>
      inbox.binding(bindingKey(pattern, share)) !== undefined
    const existed = command.remove === 'others' ? [] : command.remove.map(isBound)
    const remove = this.#removed(inbox, command)
    for (const { pattern, share } of remove) this.#unbind(inbox, pattern, share)
    const granted = this.#add(inbox, command.add)
    const add = command.add.filter((_, at) => granted[at] === true)
    await this.#bound({ inbox: inbox.name, add, remove }, inbox)
    inbox.wake()
    return { granted, existed }
  }

  #add(inbox: InboxState, bindings: readonly Binding[]): (true | Fault)[] {
    return bindings.map((binding) => {
      try {
        this.#check(inbox, binding)
        bind(this.#core.state, inbox, binding)
        return true
      } catch (error) {
        return Fault.from(error)
      }
    })
  }

  /** A share is written down even when the inbox that made it is not: it outlives it. */
  async #bound(event: BoundEvent, inbox: InboxState): Promise<void> {
    const { log } = this.#core
    const written = inbox.persistent
      ? event
      : { inbox: '', add: event.add.filter(({ share }) => share !== undefined), remove: [] }
    if (written.add.length === 0 && written.remove.length === 0) return
    log.append(writeBound(written))
    await log.done()
  }

  #removed(inbox: InboxState, { add, remove }: CommandOf<'bind'>): BoundEvent['remove'] {
    if (remove !== 'others') return remove.filter(({ pattern, share }) => inbox.binding(bindingKey(pattern, share)))
    const stay = new Set(add.map(({ pattern, share }) => bindingKey(pattern, share)))
    return inbox.bindings
      .map(({ binding: { pattern, share } }) => ({ pattern, ...(share !== undefined && { share }) }))
      .filter(({ pattern, share }) => !stay.has(bindingKey(pattern, share)))
  }

  #unbind(inbox: InboxState, pattern: string, share: string | undefined): void {
    const { state } = this.#core
    const key = bindingKey(pattern, share)
    unbind(state, inbox, pattern, share)
    const left = share === undefined ? undefined : state.shares.get(key)
    // Its last member said that it wants no more of it: unlike one whose session ended.
    if (left?.members.size === 0) this.#endShare(left)
  }

  #endShare({ share, pattern, key }: ShareState): void {
    this.#core.log.append(writeShareGone(share, pattern))
    endShare(this.#core.state, key)
  }

  #check(inbox: InboxState, binding: Binding): void {
    const { state } = this.#core
    checkPattern(binding.pattern)
    if (binding.from !== undefined && binding.from !== 'max')
      throw unsupported('a binding from another time than now', 'from')
    boundOf(binding, inbox)
    if (binding.retained !== 'skip' && !isOpen(binding.filter))
      throw unsupported('retained messages through a filter', 'filter')
    const key = bindingKey(binding.pattern, binding.share)
    if (!inbox.binding(key) && inbox.bindingCount >= state.bounds.bindings)
      throw new Fault('limit', `the inbox has ${inbox.bindingCount} bindings already`, { about: 'pattern' })
    if (binding.share !== undefined && !state.shares.has(key) && state.shares.size >= state.bounds.inboxes)
      throw new Fault('limit', `there are ${state.shares.size} shares already`, { about: 'share' })
  }

  #opened(session: string, inbox: InboxState): void {
    this.#open.set(session, withOne(this.#open.get(session), inbox))
  }

  #closed(inbox: InboxState): void {
    const { session } = inbox
    inbox.session = undefined
    if (session === undefined) return
    const left = withoutOne(this.#open.get(session), inbox)
    if (left) this.#open.set(session, left)
    else this.#open.delete(session)
  }

  /** The client is back, or somebody else calls himself the same. */
  #takeOver(inbox: InboxState, by: string, fresh: boolean): void {
    const { session, will } = inbox
    this.#closed(inbox)
    if (session !== undefined && session !== by)
      void this.#core.notify({ session }, { kind: 'goAway', reason: 'takenOver' }).catch(() => undefined)
    // [MQTT-3.1.2-8] a will waits for its delay, and a client that is back in time cancels it; a session that ends fires it
    const attached = session !== undefined
    if (will && (fresh || (attached && will.after === 0))) this.#wills.fire(inbox.name, will.record, inbox.client)
    else this.#wills.cancel(inbox)
    inbox.wake()
  }

  #left(inbox: InboxState, expiry: Ms, how: 'drop' | 'fire' | 'keep'): void {
    const now = this.#core.clock.now()
    this.#closed(inbox)
    const { will } = inbox
    const after = how === 'keep' ? Math.max(KEEP_WILL_MS, will?.after ?? 0) : Math.min(will?.after ?? 0, expiry)
    inbox.will = how === 'drop' ? undefined : will && { ...will, after }
    inbox.expiry = expiry
    if (expiry === 0) return this.#end(inbox, now, inbox.will && { will: inbox.will, after })
    inbox.leftAt = now
    if (inbox.logged)
      this.#core.log.append(writeLeft({ inbox: inbox.name, at: now, expiry, willAfter: inbox.will ? after : -1 }))
    if (inbox.will) this.#wills.later(inbox, after)
    this.#expireLater(inbox)
    inbox.wake()
  }

  #end(inbox: InboxState, now: EpochMs, last: { will: Will; after: Ms } | undefined): void {
    const { name, client } = inbox
    if (inbox.logged)
      this.#core.log.append(writeLeft({ inbox: name, at: now, expiry: 0, willAfter: last?.after ?? -1 }))
    this.#closed(inbox)
    endInbox(this.#core.state, inbox, now)
    inbox.wake()
    if (last) this.#wills.after(name, last.will.record, client, last.after)
  }

  #expireLater(inbox: InboxState): void {
    inbox.unexpire?.()
    inbox.unexpire = this.#core.wheel.at(inbox.leftAt + inbox.expiry, () => {
      const { will } = inbox
      this.#end(inbox, this.#core.clock.now(), will && { will, after: 0 })
    })
  }

  #sweep(): void {
    const { state, clock } = this.#core
    const now = clock.now()
    for (const share of [...state.shares.values()]) {
      if (share.members.size === 0 && share.leftAt + SHARE_KEEP_MS <= now) this.#endShare(share)
    }
    state.forgetKeys(now)
  }
}

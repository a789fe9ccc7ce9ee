import type { EpochMs, Ms } from '@sluice/core'
import { type Bound, bindingKey } from './bindings.ts'
import { allOf, type Few, withOne, withoutOne } from './few.ts'
import type { Touched } from './log.ts'
import { type Pointer, Pointers } from './pointers.ts'
import { SmallMap, SmallSet } from './small.ts'
import type { Answer } from './state.ts'
import type { Waiter } from './waiters.ts'
import type { Walk } from './walks.ts'

/** A numbered delivery of an inbox that is not settled. */
export interface SlotState extends Pointer {
  readonly slot: number
  /** Number of the delivery that is out, or was before the client left. */
  attempt: number
  /** The client has it; only the last word is missing. */
  received: boolean
  readonly retained: boolean
  /** The share it was drawn from: it goes back there when the inbox ends. */
  readonly share: ShareState | undefined
}

export interface Will {
  /** The message as a record that stands in no queue yet. */
  readonly record: Buffer
  readonly after: Ms
}

const none = new Pointers()

/** What an inbox and a share have in common: a line of pointers of which readers see what is durable. */
export abstract class Line implements Touched {
  /** Only while something waits. */
  #pointers: Pointers | undefined
  touchedIn = 0
  /** Of the pointers, those that readers see. */
  visible = 0
  dropped = 0
  #sealed = 0

  get length(): number {
    return this.#pointers?.length ?? 0
  }

  at(index: number): Pointer {
    return (this.#pointers ?? none).at(index)
  }

  all(): readonly Pointer[] {
    return (this.#pointers ?? none).all()
  }

  push(place: number, size: number, notes: readonly string[] | undefined, max: number): void {
    this.#pointers ??= new Pointers()
    this.#pointers.push(place, size, notes)
    if (this.length <= max) return
    // The oldest goes: a subscriber that does not read wants the newest more.
    this.take()
    this.dropped++
  }

  /** The first, of at least one. */
  take(): Pointer {
    const pointer = this.#pointers!.shift()
    this.gone()
    return pointer
  }

  back(pointer: Pointer): void {
    this.#pointers ??= new Pointers()
    this.#pointers.insert(pointer)
    this.visible++
    this.#sealed++
  }

  remove(place: number): Pointer | undefined {
    const pointer = this.#pointers?.remove(place)
    if (pointer) this.gone()
    return pointer
  }

  /** Forgets what lies below this place of the log. */
  dropBelow(place: number): void {
    while (this.#pointers && this.#pointers.placeAt(0) < place) {
      this.take()
      this.dropped++
    }
  }

  sealed(): void {
    this.#sealed = this.length
  }

  shown(): void {
    this.visible = Math.max(this.visible, Math.min(this.#sealed, this.length))
    this.wake()
  }

  /** After a recovery everything that is there is durable. */
  showAll(): void {
    this.visible = this.#sealed = this.length
  }

  abstract wake(): void

  protected gone(): void {
    if (this.visible > 0) this.visible--
    if (this.#sealed > 0) this.#sealed--
    if (this.length === 0) this.#pointers = undefined
  }
}

const keyOf = ({ binding: { pattern, share } }: Bound): string => bindingKey(pattern, share)

/** Numbered deliveries that are not settled. */
class Deliveries {
  readonly slots = new SmallMap<number, SlotState>()
  /** Slots to hand out again, in order, from `head` on. */
  again: SlotState[] = []
  head = 0
  #next = 1

  /** See {@link InboxState.freeSlot}. */
  free(): number {
    if (this.slots.size >= SLOT_MAX) return 0
    while (this.slots.has(this.#next)) this.#next = (this.#next % SLOT_MAX) + 1
    const slot = this.#next
    this.#next = (slot % SLOT_MAX) + 1
    return slot
  }
}

/** What most inboxes never have. */
class Seldom {
  readonly walks = new SmallMap<string, Walk>()
  readonly incoming = new SmallMap<number, Answer>()
  readonly shares = new SmallSet<ShareState>()
  /** Which of its own line and its shares is next. */
  turn = 0
  will: Will | undefined
  unexpire: (() => void) | undefined
  unfire: (() => void) | undefined
}

const noSlots: Pick<
  SmallMap<number, SlotState>,
  'size' | 'get' | 'has' | 'delete' | 'values' | 'clear'
> = new SmallMap()
const noAnswers: Omit<SmallMap<number, Answer>, 'set'> = new SmallMap()
const noShares: Omit<SmallSet<ShareState>, 'add'> = new SmallSet()
const noSlot: readonly SlotState[] = []
const noWalks: Omit<SmallMap<string, Walk>, 'set'> = new SmallMap()

/** There may be a hundred thousand: what one has never needed costs a word. */
export class InboxState extends Line {
  readonly name: string
  epoch = 0
  /** What the client of the last `open` calls itself: its own messages are those of noLocal. */
  client = ''
  /** Who has it open; undefined: nobody. */
  session: string | undefined
  expiry: Ms = 0
  /** The log knows of it. */
  logged = false
  /** When it was left; 0: it is open. */
  leftAt: EpochMs = 0
  #bindings: Bound | Map<string, Bound> | undefined
  #deliveries: Deliveries | undefined
  #seldom: Seldom | undefined
  #parked: Few<Waiter>
  /** It ended or was opened anew: who still holds it must not use it. */
  ended = false

  constructor(name: string) {
    super()
    this.name = name
  }

  /** What is done with it is written down. */
  get persistent(): boolean {
    return this.expiry > 0
  }

  get bindings(): readonly Bound[] {
    const bindings = this.#bindings
    if (!bindings) return []
    return bindings instanceof Map ? [...bindings.values()] : [bindings]
  }

  get bindingCount(): number {
    return this.#bindings instanceof Map ? this.#bindings.size : this.#bindings ? 1 : 0
  }

  binding(key: string): Bound | undefined {
    const bindings = this.#bindings
    if (bindings instanceof Map) return bindings.get(key)
    return bindings && keyOf(bindings) === key ? bindings : undefined
  }

  setBinding(bound: Bound): void {
    const key = keyOf(bound)
    const bindings = this.#bindings
    if (bindings instanceof Map) bindings.set(key, bound)
    else if (!bindings || keyOf(bindings) === key) this.#bindings = bound
    else this.#bindings = new Map([[keyOf(bindings), bindings]]).set(key, bound)
  }

  deleteBinding(key: string): void {
    if (this.#bindings instanceof Map) this.#bindings.delete(key)
    else if (this.binding(key)) this.#bindings = undefined
  }

  join(waiter: Waiter): void {
    this.#parked = withOne(this.#parked, waiter)
  }

  leave(waiter: Waiter): void {
    this.#parked = withoutOne(this.#parked, waiter)
  }

  get isAwaited(): boolean {
    return this.#parked !== undefined
  }

  wake(): void {
    for (const waiter of allOf(this.#parked)) waiter.wake()
  }

  /** The deliveries that are out. */
  get slots() {
    return this.#deliveries?.slots ?? noSlots
  }

  setSlot(slot: SlotState): void {
    this.#deliveries ??= new Deliveries()
    this.#deliveries.slots.set(slot.slot, slot)
  }

  /** The next number that no unsettled delivery has; 0: all are in use. */
  freeSlot(): number {
    this.#deliveries ??= new Deliveries()
    return this.#deliveries.free()
  }

  /** Slots to hand out again, in order. */
  get redeliver(): readonly SlotState[] {
    const deliveries = this.#deliveries
    return deliveries && deliveries.again.length > 0 ? deliveries.again.slice(deliveries.head) : noSlot
  }

  /** All that is out is handed out again. */
  redeliverAll(): void {
    if (!this.#deliveries) return
    this.#deliveries.again = [...this.#deliveries.slots.values()]
    this.#deliveries.head = 0
  }

  redeliverOne(slot: SlotState): void {
    this.#deliveries?.again.push(slot)
  }

  /** Taken out; it may have been settled meanwhile. */
  nextAgain(): SlotState | undefined {
    const deliveries = this.#deliveries
    const slot = deliveries?.again[deliveries.head]
    if (!deliveries || !slot) return undefined
    if (++deliveries.head < deliveries.again.length) return slot
    deliveries.again = []
    deliveries.head = 0
    return slot
  }

  protected get seldom(): Seldom {
    return (this.#seldom ??= new Seldom())
  }

  /** Through what is retained, which is handed out before what is live. One of each pattern that it is bound to. */
  get walks() {
    return this.#seldom?.walks ?? noWalks
  }
  get isWalking(): boolean {
    return this.walks.size > 0
  }
  /** Behind all others; one of the same pattern begins anew. */
  walk(walk: Walk): void {
    this.walks.delete(walk.pattern)
    this.seldom.walks.set(walk.pattern, walk)
  }
  walked({ pattern, after }: Pick<Walk, 'pattern' | 'after'>): void {
    const walk = this.walks.get(pattern)
    if (!walk) return
    walk.after = after
    if (walk.isOver) this.walks.delete(pattern)
  }

  /** Publishes of the client that it may repeat: slot to first answer. */
  get incoming() {
    return this.#seldom?.incoming ?? noAnswers
  }
  answered(slot: number, answer: Answer): void {
    this.seldom.incoming.set(slot, answer)
  }

  get shares() {
    return this.#seldom?.shares ?? noShares
  }
  draw(share: ShareState): void {
    this.seldom.shares.add(share)
  }

  /** Of its own line and its shares, the next in turn that has something. */
  nextLine(): Line | undefined {
    if (this.shares.size === 0) return this.visible > 0 ? this : undefined
    const lines: Line[] = [this, ...this.shares]
    for (let tries = lines.length; tries > 0; tries--) {
      const line = lines[this.seldom.turn++ % lines.length]!
      if (line.visible > 0) return line
    }
    return undefined
  }

  get will(): Will | undefined {
    return this.#seldom?.will
  }
  set will(will: Will | undefined) {
    if (will || this.#seldom) this.seldom.will = will
  }
  get unexpire(): (() => void) | undefined {
    return this.#seldom?.unexpire
  }
  set unexpire(unexpire: (() => void) | undefined) {
    if (unexpire || this.#seldom) this.seldom.unexpire = unexpire
  }
  get unfire(): (() => void) | undefined {
    return this.#seldom?.unfire
  }
  set unfire(unfire: (() => void) | undefined) {
    if (unfire || this.#seldom) this.seldom.unfire = unfire
  }

  get hasVisible(): boolean {
    if (this.visible > 0 || (this.#deliveries && this.#deliveries.again.length > 0) || this.isWalking) return true
    for (const share of this.shares) if (share.visible > 0) return true
    return false
  }
}

export const SLOT_MAX = 65_535

/** Every inbox with the same (share, pattern) draws from it; it outlives them. */
export class ShareState extends Line {
  readonly share: string
  readonly pattern: string
  readonly members = new Set<InboxState>()
  /** When its last member left; 0: it has some. */
  leftAt: EpochMs = 0
  bound: Bound | undefined

  constructor(share: string, pattern: string) {
    super()
    this.share = share
    this.pattern = pattern
  }

  get key(): string {
    return bindingKey(this.pattern, this.share)
  }

  /** As many members as there are messages, those that wait longest first. */
  wake(): void {
    let left = this.visible
    for (const member of [...this.members]) {
      if (left <= 0) return
      if (!member.isAwaited) continue
      left--
      this.members.delete(member)
      this.members.add(member)
      member.wake()
    }
  }
}

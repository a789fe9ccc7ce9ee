import {
  type Binding,
  compileFilter,
  type EpochMs,
  type Matches,
  type Message,
  type Ms,
  PatternTrie,
} from '@sluice/core'
import { PropertyView } from '@sluice/remoting'
import type { Touched } from './log.ts'
import { type Pointer, Pointers } from './pointers.ts'
import { SmallMap, SmallSet } from './small.ts'
import type { Answer } from './state.ts'
import type { Reader } from './topics.ts'

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

export interface Bound {
  readonly binding: Binding
  readonly target: InboxState | ShareState
  readonly matches: Matches
}

/** What an inbox and a share have in common: a line of pointers of which readers see what is durable. */
export abstract class Line implements Touched {
  readonly pointers = new Pointers()
  touchedIn: unknown
  /** Of the pointers, those that readers see. */
  visible = 0
  dropped = 0
  #sealed = 0

  push(place: number, size: number, notes: readonly string[] | undefined, max: number): void {
    this.pointers.push(place, size, notes)
    if (this.pointers.length <= max) return
    // The oldest goes: a subscriber that does not read wants the newest more.
    this.pointers.shift()
    this.dropped++
    this.#gone(1)
  }

  take(): Pointer {
    const pointer = this.pointers.shift()
    this.#gone(1)
    return pointer
  }

  back(pointer: Pointer): void {
    this.pointers.insert(pointer)
    this.visible++
    this.#sealed++
  }

  remove(place: number): Pointer | undefined {
    const pointer = this.pointers.remove(place)
    if (pointer) this.#gone(1)
    return pointer
  }

  /** Forgets what lies below this place of the log. */
  dropBelow(place: number): void {
    while (this.pointers.length > 0 && this.pointers.placeAt(0) < place) {
      this.take()
      this.dropped++
    }
  }

  sealed(): void {
    this.#sealed = this.pointers.length
  }

  shown(): void {
    this.visible = Math.max(this.visible, Math.min(this.#sealed, this.pointers.length))
    this.wake()
  }

  /** After a recovery everything that is there is durable. */
  showAll(): void {
    this.visible = this.#sealed = this.pointers.length
  }

  abstract wake(): void

  #gone(count: number): void {
    this.visible = Math.max(0, this.visible - count)
    this.#sealed = Math.max(0, this.#sealed - count)
  }
}

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
  readonly bindings = new SmallMap<string, Bound>()
  readonly slots = new SmallMap<number, SlotState>()
  /** Slots to hand out again, in order. */
  redeliver: SlotState[] = []
  /** Retained messages to hand out, before what is live. */
  retained: Pointer[] = []
  /** Publishes of the client that it may repeat: slot to first answer. */
  readonly incoming = new SmallMap<number, Answer>()
  readonly shares = new SmallSet<ShareState>()
  readonly parked = new SmallSet<Reader>()
  will: Will | undefined
  unexpire: (() => void) | undefined
  unfire: (() => void) | undefined
  #nextSlot = 1
  turn = 0
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

  join(reader: Reader): void {
    this.parked.add(reader)
  }

  leave(reader: Reader): void {
    this.parked.delete(reader)
  }

  wake(): void {
    for (const reader of [...this.parked]) reader.wake()
  }

  /** The next number that no unsettled delivery has; 0: all are in use. */
  freeSlot(): number {
    if (this.slots.size >= SLOT_MAX) return 0
    while (this.slots.has(this.#nextSlot)) this.#nextSlot = (this.#nextSlot % SLOT_MAX) + 1
    const slot = this.#nextSlot
    this.#nextSlot = (slot % SLOT_MAX) + 1
    return slot
  }

  get hasVisible(): boolean {
    if (this.redeliver.length > 0 || this.retained.length > 0 || this.visible > 0) return true
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
      if (member.parked.size === 0) continue
      left--
      this.members.delete(member)
      this.members.add(member)
      member.wake()
    }
  }
}

export const bindingKey = (pattern: string, share: string | undefined): string =>
  share === undefined ? pattern : `${share}\x00${pattern}`

/** All bindings by pattern. */
export class Bindings {
  readonly #trie = new PatternTrie<Bound>()
  /** Bindings that leave their own client's messages out. */
  noLocals = 0

  get empty(): boolean {
    return this.#trie.empty
  }

  add(bound: Bound): void {
    this.#trie.add(bound.binding.pattern, bound)
    if (bound.binding.noLocal) this.noLocals++
  }
  remove(bound: Bound): void {
    if (this.#trie.remove(bound.binding.pattern, bound) && bound.binding.noLocal) this.noLocals--
  }

  /**
   * Where a message goes, with the notes of all bindings that matched, merged.
   * @param publisher whose own messages a noLocal binding leaves out
   * @param left told when a binding was left out because of it
   */
  match(
    full: string,
    message: Message,
    publisher: string | undefined,
    left?: () => void,
  ): Map<InboxState | ShareState, readonly string[] | undefined> | undefined {
    let targets: Map<InboxState | ShareState, readonly string[] | undefined> | undefined
    // Filters see what they will see of the record when it is read again.
    const { packed } = message
    const fields = (packed ? new PropertyView(packed) : message) as Parameters<Matches>[0]
    this.#trie.match(full, (bound) => {
      const { target, binding } = bound
      if (!bound.matches(fields)) return
      if (binding.noLocal && target instanceof InboxState && target.client === publisher) return left?.()
      targets ??= new Map()
      const { note } = binding
      const notes = targets.get(target)
      if (note === undefined) targets.set(target, notes)
      else targets.set(target, notes ? [...notes, note] : notesOf(note))
    })
    return targets
  }
}

const single = new Map<string, readonly string[]>()
/** Nearly every pointer carries one of a few notes: they share their lists. */
const notesOf = (note: string): readonly string[] => {
  let notes = single.get(note)
  if (!notes) {
    if (single.size > 4096) single.clear()
    single.set(note, (notes = [note]))
  }
  return notes
}

/** @throws Fault 'unsupported' or 'invalid' about 'filter' */
export const boundOf = (binding: Binding, target: InboxState | ShareState): Bound => ({
  binding,
  target,
  matches: compileFilter(binding.filter),
})

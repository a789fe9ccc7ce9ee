import { type Binding, compileFilter, isOpen, joinPath, type Matches, type Message, PatternTrie } from '@sluice/core'
import { PropertyView } from '@sluice/remoting'
import { InboxState, type ShareState } from './inboxes.ts'

export interface Bound {
  readonly binding: Binding
  readonly target: Target
  readonly matches: Matches
}

export const bindingKey = (pattern: string, share: string | undefined): string =>
  share === undefined ? pattern : `${share}\x00${pattern}`

type Target = InboxState | ShareState

/** Where a message goes, with the notes of all its bindings that matched, merged. */
export interface Route {
  readonly target: Target
  readonly notes: readonly string[] | undefined
}

/** What the name of a topic leads to. */
interface Known {
  readonly topic: string
  readonly path: string | undefined
  /** Whose pattern matches, in the order of their patterns' levels. */
  readonly bounds: readonly Bound[]
  /** Where all its messages go; undefined: they must be looked at. */
  readonly routes: readonly Route[] | undefined
}

/** Names of late: a power of two. */
const KNOWN = 256
/** Bindings that all of them may lead to. */
const KNOWN_BOUNDS_MAX = 65_536
const nowhere: readonly Route[] = []

/** All bindings by pattern. */
export class Bindings {
  readonly #trie = new PatternTrie<Bound>()
  /** Until a binding comes or goes: nearly every message has the topic of one that came a moment ago. */
  #known: (Known | undefined)[] = []
  #knownBounds = 0
  /** Bindings that leave their own client's messages out. */
  noLocals = 0

  get empty(): boolean {
    return this.#trie.empty
  }

  add(bound: Bound): void {
    this.#forget()
    this.#trie.add(bound.binding.pattern, bound)
    if (bound.binding.noLocal) this.noLocals++
  }
  remove(bound: Bound): void {
    this.#forget()
    if (this.#trie.remove(bound.binding.pattern, bound) && bound.binding.noLocal) this.noLocals--
  }

  /** @param publisher whose own messages a noLocal binding leaves out */
  match(path: string | undefined, message: Message, publisher: string | undefined): readonly Route[] {
    const { bounds, routes } = this.#lookUp(message.topic, path)
    if (routes) return routes
    const fields = fieldsOf(message)
    return routesOf(bounds.filter((bound) => bound.matches(fields) && !isOwn(bound, publisher)))
  }

  /** Whether a noLocal binding leaves this message out because it is its own client's. */
  leavesOut(path: string | undefined, message: Message, publisher: string): boolean {
    const { bounds, routes } = this.#lookUp(message.topic, path)
    if (routes) return false
    const fields = fieldsOf(message)
    return bounds.some((bound) => isOwn(bound, publisher) && bound.matches(fields))
  }

  #lookUp(topic: string, path: string | undefined): Known {
    const place = placeOf(topic, path)
    const known = this.#known[place]
    if (known && known.topic === topic && known.path === path) return known
    const bounds: Bound[] = []
    this.#trie.match(joinPath(topic, path), (bound) => bounds.push(bound))
    const routes = bounds.every(isPlain) ? routesOf(bounds) : undefined
    const found = { topic, path, bounds, routes }
    this.#knownBounds += bounds.length
    if (this.#knownBounds > KNOWN_BOUNDS_MAX) this.#forget()
    else this.#known[place] = found
    return found
  }

  #forget(): void {
    if (this.#known.length > 0) this.#known = []
    this.#knownBounds = 0
  }
}

const placeOf = (topic: string, path: string | undefined): number => {
  let hash = topic.length
  for (let at = Math.max(0, topic.length - 8); at < topic.length; at++) hash = (hash * 31 + topic.charCodeAt(at)) | 0
  if (path === undefined) return (hash ^ (hash >>> 16)) & (KNOWN - 1)
  for (let at = Math.max(0, path.length - 8); at < path.length; at++) hash = (hash * 31 + path.charCodeAt(at)) | 0
  return (hash ^ (hash >>> 16)) & (KNOWN - 1)
}

/** Filters see what they will see of the record when it is read again. */
const fieldsOf = (message: Message) =>
  (message.packed ? new PropertyView(message.packed) : message) as Parameters<Matches>[0]

/** It takes every message of its pattern. */
const isPlain = ({ binding: { filter, noLocal } }: Bound): boolean => !noLocal && isOpen(filter)

const isOwn = ({ binding, target }: Bound, publisher: string | undefined): boolean =>
  binding.noLocal === true && target instanceof InboxState && target.client === publisher

const routesOf = (bounds: readonly Bound[]): readonly Route[] => {
  if (bounds.length === 0) return nowhere
  const targets = new Map<Target, readonly string[] | undefined>()
  for (const { target, binding } of bounds) {
    const { note } = binding
    const notes = targets.get(target)
    if (note === undefined) targets.set(target, notes)
    else targets.set(target, notes ? [...notes, note] : notesOf(note))
  }
  return Array.from(targets, ([target, notes]) => ({ target, notes }))
}

const single = new Map<string, readonly string[]>()
/** Nearly every pointer carries one of a few notes: they share their lists. */
export const notesOf = (note: string): readonly string[] => {
  let notes = single.get(note)
  if (!notes) {
    if (single.size > 4096) single.clear()
    single.set(note, (notes = [note]))
  }
  return notes
}

/** @throws Fault 'unsupported' or 'invalid' about 'filter' */
export const boundOf = (binding: Binding, target: Target): Bound => ({
  binding,
  target,
  matches: compileFilter(binding.filter),
})

import { Fault } from '../model.ts'

/** Most levels of a topic or pattern. */
export const LEVELS_MAX = 128

/**
 * MQTT's patterns, which bind inboxes to `topic/path`: `+` is one level, `#` at the end is the parent and all below.
 * @throws Fault 'invalid' about 'pattern'
 */
export const checkPattern = (pattern: string): void => {
  const levels = pattern.split('/')
  const bad = (why: string) => new Fault('invalid', `pattern ${why}`, { about: 'pattern' })
  if (pattern === '') throw bad('is empty')
  if (levels.length > LEVELS_MAX) throw bad(`has over ${LEVELS_MAX} levels`)
  levels.forEach((level, index) => {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) throw bad('has # before its end')
    if (level.includes('+') && level !== '+') throw bad('has + beside other characters')
  })
}

/** What a level leads to: a node, or the one value of the one pattern that ends there. */
type Next<T extends NonNullable<unknown>> = Node<T> | T

/** Costs little with one child, which most have where every client has a topic of its own. */
class Node<T extends NonNullable<unknown>> {
  #level: string | undefined
  #next: Next<T> | undefined
  #many: Map<string, Next<T>> | undefined
  /** Of the patterns that end here. */
  values: Set<T> | undefined

  get hasChildren(): boolean {
    return this.#next !== undefined || this.#many !== undefined
  }

  get(level: string): Next<T> | undefined {
    if (this.#many) return this.#many.get(level)
    return this.#level === level ? this.#next : undefined
  }

  set(level: string, next: Next<T>): void {
    if (this.#many) this.#many.set(level, next)
    else if (this.#next === undefined || this.#level === level) {
      this.#level = level
      this.#next = next
    } else {
      this.#many = new Map([[this.#level!, this.#next]]).set(level, next)
      this.#level = this.#next = undefined
    }
  }

  delete(level: string): void {
    this.#many?.delete(level)
    if (this.#many?.size === 0) this.#many = undefined
    if (this.#level === level) this.#level = this.#next = undefined
  }

  /** The node of a level, made if it is not there. */
  enter(level: string): Node<T> {
    const next = this.get(level)
    if (next instanceof Node) return next
    const made = new Node<T>()
    if (next !== undefined) made.values = new Set([next])
    this.set(level, made)
    return made
  }

  put(level: string, value: T): void {
    const next = this.get(level)
    if (next === undefined) this.set(level, value)
    else if (next !== value) {
      const node = this.enter(level)
      node.values ??= new Set()
      node.values.add(value)
    }
  }

  remove(levels: readonly string[], depth: number, value: T): boolean {
    const level = levels[depth]!
    const next = this.get(level)
    if (next === undefined) return false
    const isLast = depth === levels.length - 1
    if (!(next instanceof Node)) {
      if (!isLast || next !== value) return false
      this.delete(level)
      return true
    }
    const removed = isLast ? (next.values?.delete(value) ?? false) : next.remove(levels, depth + 1, value)
    if (removed) this.#tidy(level, next)
    return removed
  }

  #tidy(level: string, { values, hasChildren }: Node<T>): void {
    if (hasChildren || (values && values.size > 1)) return
    if (values?.size === 1) this.set(level, values.values().next().value as T)
    else this.delete(level)
  }
}

/** Patterns by level: a match costs the topic's levels, not the number of patterns; one that nothing shares, a map's entry. */
export class PatternTrie<T extends NonNullable<unknown>> {
  readonly #root = new Node<T>()

  get empty(): boolean {
    return !this.#root.hasChildren
  }

  add(pattern: string, value: T): void {
    const levels = pattern.split('/')
    const last = levels.length - 1
    let at = this.#root
    for (let depth = 0; depth < last; depth++) at = at.enter(levels[depth]!)
    at.put(levels[last]!, value)
  }

  /** Whether it was there. Empty branches are cut, so that patterns that come and go leave nothing. */
  remove(pattern: string, value: T): boolean {
    return this.#root.remove(pattern.split('/'), 0, value)
  }

  /** Calls `visit` for each value of each matching pattern; a value under several patterns comes several times. */
  match(topic: string, visit: (value: T) => void): void {
    if (this.empty) return
    // [MQTT-4.7.2-1] a pattern that begins with a wildcard does not match a topic that begins with $
    const system = topic.startsWith('$')
    walk(this.#root, topic.split('/'), 0, system, visit)
  }
}

const walk = <T extends NonNullable<unknown>>(
  at: Next<T>,
  levels: readonly string[],
  depth: number,
  system: boolean,
  visit: (value: T) => void,
): void => {
  const isEnd = depth === levels.length
  if (!(at instanceof Node)) {
    if (isEnd) visit(at)
    return
  }
  const isWild = !(system && depth === 0)
  const rest = isWild ? at.get('#') : undefined
  if (rest instanceof Node) for (const value of rest.values ?? []) visit(value)
  else if (rest !== undefined) visit(rest)
  if (isEnd) {
    for (const value of at.values ?? []) visit(value)
    return
  }
  const exact = at.get(levels[depth]!)
  if (exact !== undefined) walk(exact, levels, depth + 1, system, visit)
  const any = isWild ? at.get('+') : undefined
  if (any !== undefined) walk(any, levels, depth + 1, system, visit)
}

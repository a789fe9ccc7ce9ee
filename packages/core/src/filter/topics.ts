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

interface Node<T> {
  readonly children: Map<string, Node<T>>
  readonly values: Set<T>
}

const node = <T>(): Node<T> => ({ children: new Map(), values: new Set() })

/** Patterns by level: a match costs the topic's levels, not the number of patterns. */
export class PatternTrie<T> {
  readonly #root = node<T>()

  get empty(): boolean {
    return this.#root.children.size === 0
  }

  add(pattern: string, value: T): void {
    let at = this.#root
    for (const level of pattern.split('/')) {
      let next = at.children.get(level)
      if (!next) at.children.set(level, (next = node<T>()))
      at = next
    }
    at.values.add(value)
  }

  /** Whether it was there. Empty branches are cut, so that patterns that come and go leave nothing. */
  remove(pattern: string, value: T): boolean {
    const levels = pattern.split('/')
    const path = [this.#root]
    for (const level of levels) {
      const next = path.at(-1)!.children.get(level)
      if (!next) return false
      path.push(next)
    }
    const removed = path.at(-1)!.values.delete(value)
    for (let depth = levels.length; depth > 0; depth--) {
      const at = path[depth]!
      if (at.values.size > 0 || at.children.size > 0) break
      path[depth - 1]!.children.delete(levels[depth - 1]!)
    }
    return removed
  }

  /** Calls `visit` for each value of each matching pattern; a value under several patterns comes several times. */
  match(topic: string, visit: (value: T) => void): void {
    if (this.empty) return
    const levels = topic.split('/')
    // [MQTT-4.7.2-1] a pattern that begins with a wildcard does not match a topic that begins with $
    const system = topic.startsWith('$')
    this.#walk(this.#root, levels, 0, system, visit)
  }

  #walk(at: Node<T>, levels: readonly string[], depth: number, system: boolean, visit: (value: T) => void): void {
    const rest = at.children.get('#')
    if (rest && !(system && depth === 0)) for (const value of rest.values) visit(value)
    if (depth === levels.length) {
      for (const value of at.values) visit(value)
      return
    }
    const exact = at.children.get(levels[depth]!)
    if (exact) this.#walk(exact, levels, depth + 1, system, visit)
    const any = at.children.get('+')
    if (any && !(system && depth === 0)) this.#walk(any, levels, depth + 1, system, visit)
  }
}

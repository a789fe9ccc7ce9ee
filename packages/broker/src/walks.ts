import type { Retained, RetainedTopics } from './retained.ts'
import { SmallMap } from './small.ts'

/** Messages that all walks together take in a turn of the loop: some 0.2 ms until they are written to their sockets. */
const PAGE = 16
/** The same while others write: who waits for an answer stands behind one page, not more. */
const SHORT = 4
/** So many turns in a row in which nobody wrote: nobody else is there. */
const QUIET = 16
/** Longest that walks give way for, ms: one turn of a busy process may be longer. */
const PATIENCE = 0.5
/** Topics that are looked at in the time that a message takes. */
const LOOKS = 64

/**
 * The way of a new binding through what is retained: how far it came, no list. It takes what was there when it began, as it is
 * when its turn comes. What was stored later comes live, and only live; what was cleared comes not at all.
 */
export class Walk {
  readonly pattern: string
  /** Everything that was first stored up to here has had its turn. */
  after: number
  readonly until: number
  #matches: ((full: string) => boolean) | undefined

  constructor(pattern: string, until: number, after = -1) {
    this.pattern = pattern
    this.until = until
    this.after = after
  }

  get isOver(): boolean {
    return this.after >= this.until
  }

  /** Goes on until it has taken or looked at so many. @returns at how many it looked */
  on(topics: RetainedTopics, most: number, looks: number, take: (one: Retained) => void): number {
    if (!/[+#]/.test(this.pattern)) {
      const one = topics.get(this.pattern)
      if (one && one.at > this.after && one.at <= this.until) take(one)
      this.after = this.until
      return 1
    }
    const matches = (this.#matches ??= matcher(this.pattern))
    const { inOrder } = topics
    const begin = topics.behind(this.after)
    let left = most
    for (let index = begin; index - begin < looks; index++) {
      const one = inOrder[index]
      if (!one || one.at > this.until) {
        this.after = this.until
        return index - begin + 1
      }
      this.after = one.at
      if (one.isGone || !matches(one.full)) continue
      take(one)
      if (--left === 0) return index - begin + 1
    }
    return looks
  }
}

export interface Found {
  readonly one: Retained
  readonly walk: Walk
}

export interface Stretch {
  readonly found: readonly Found[]
  /** Those that went on. */
  readonly walks: readonly Walk[]
  /** What it took of the time of a turn, in messages. */
  readonly cost: number
}

type Walks = Pick<SmallMap<string, Walk>, 'delete' | 'values'>

/** Of an inbox's walks, one after the other; those that are over end. */
export const walkOn = (walks: Walks, topics: RetainedTopics, most: number): Stretch => {
  const found: Found[] = []
  const wentOn: Walk[] = []
  let looks = most * LOOKS
  for (const walk of walks.values()) {
    if (found.length >= most || looks <= 0) break
    looks -= walk.on(topics, most - found.length, looks, (one) => found.push({ one, walk }))
    wentOn.push(walk)
  }
  for (const walk of wentOn) if (walk.isOver) walks.delete(walk.pattern)
  return { found, walks: wentOn, cost: Math.max(found.length, Math.ceil(most - looks / LOOKS)) }
}

/** Of a browse. */
const AHEAD = 256

/** Some of what {@link walkOn} would find; nothing goes on. */
export const lookAhead = (walks: Walks, topics: RetainedTopics, most: number): readonly Retained[] => {
  const copies = new SmallMap<string, Walk>()
  for (const { pattern, until, after } of walks.values()) copies.set(pattern, new Walk(pattern, until, after))
  return walkOn(copies, topics, Math.min(most, AHEAD)).found.map(({ one }) => one)
}

/**
 * What all walks of the process may take in a turn of the loop. Who comes too late waits for the next one, in order. While
 * others write, a page is taken in a turn in which they did not: when what came in has been answered. What a kept session
 * acknowledges is written, too: alone, its replay takes short pages.
 */
export class Turns {
  readonly #written: () => number
  #wrote: number
  /** Turns in a row in which nobody wrote. */
  #quiet = QUIET
  /** When there was a page last, ms. */
  #pageAt = 0
  #left = PAGE
  #waiting: ((room: number) => void)[] = []
  #isDue = false

  /** @param written moves whenever something is written */
  constructor(written: () => number) {
    this.#written = written
    this.#wrote = written()
  }

  /** How many messages may be taken in this turn. Who gets a number {@link spend}s some of it before anybody else asks. */
  room(): number | Promise<number> {
    this.#again()
    if (this.#left > 0 && this.#waiting.length === 0) return this.#left
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  spend(messages: number): void {
    this.#left -= messages
    this.#next()
  }

  #next(): void {
    if (this.#left > 0) this.#waiting.shift()?.(this.#left)
  }

  #again(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      this.#left = this.#page()
      if (this.#waiting.length > 0) this.#again()
      this.#next()
    })
  }

  /** Of this turn. */
  #page(): number {
    const written = this.#written()
    const isTheirs = written !== this.#wrote
    this.#wrote = written
    this.#quiet = isTheirs ? 0 : this.#quiet + 1
    if (this.#quiet >= QUIET) return PAGE
    const now = performance.now()
    if (isTheirs && now - this.#pageAt < PATIENCE) return 0
    this.#pageAt = now
    return SHORT
  }
}

const matcher = (pattern: string): ((full: string) => boolean) => {
  const levels = pattern.split('/')
  const literal = levels
    .slice(
      0,
      levels.findIndex((level) => level === '+' || level === '#'),
    )
    .join('/')
  // Of all below a topic, which is what most ask for, the beginning says it.
  if (literal !== '' && levels.at(-1) === '#' && !levels.includes('+')) {
    const below = `${literal}/`
    return (full) => full.startsWith(below) || full === literal
  }
  return (full) => {
    if (!full.startsWith(literal)) return false
    const at = full.split('/')
    if (full.startsWith('$') && (levels[0] === '+' || levels[0] === '#')) return false
    for (let depth = 0; depth < levels.length; depth++) {
      if (levels[depth] === '#') return true
      if (depth >= at.length) return false
      if (levels[depth] !== '+' && levels[depth] !== at[depth]) return false
    }
    return at.length === levels.length
  }
}

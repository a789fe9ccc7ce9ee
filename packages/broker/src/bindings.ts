import { type Binding, compileFilter, type Matches, type Message, PatternTrie } from '@sluice/core'
import { PropertyView } from '@sluice/remoting'
import { InboxState, type ShareState } from './inboxes.ts'

export interface Bound {
  readonly binding: Binding
  readonly target: InboxState | ShareState
  readonly matches: Matches
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

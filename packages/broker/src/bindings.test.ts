import { type Binding, compileFilter, joinPath, type Message, PatternTrie } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bindings, type Bound, boundOf } from './bindings.ts'
import { InboxState } from './inboxes.ts'

const numRuns = Math.min(Number(process.env.SLUICE_RUNS ?? 2_000), 10_000)
const inboxes = ['a', 'b', 'c'].map((name) => {
  const inbox = new InboxState(name)
  inbox.client = name
  return inbox
})
const patterns = ['#', 't/#', 't/+', 't/x', 't', 'u/x', '+/x']
const bounds: Bound[] = inboxes.flatMap((inbox) =>
  patterns.flatMap((pattern) =>
    ([{}, { noLocal: true }, { filter: { kind: 'tag', expression: 'A' } }] as Partial<Binding>[]).map((more, at) =>
      boundOf({ pattern, retained: 'skip', note: `${at}${pattern}`, ...more }, inbox),
    ),
  ),
)

/** What a walk of all patterns finds, each time anew. */
const found = (known: ReadonlySet<Bound>, path: string | undefined, message: Message, publisher: string) => {
  const trie = new PatternTrie<Bound>()
  for (const bound of known) trie.add(bound.binding.pattern, bound)
  const notes = new Map<unknown, string[]>()
  let isLeftOut = false
  trie.match(joinPath(message.topic, path), ({ binding, target }) => {
    if (!compileFilter(binding.filter)(message)) return
    if (binding.noLocal && (target as InboxState).client === publisher) isLeftOut = true
    else notes.set(target, [...(notes.get(target) ?? []), binding.note!])
  })
  return { isLeftOut, notes: new Map([...notes].map(([target, list]) => [target, list.sort()])) }
}

const step = fc.record({
  bound: fc.nat(bounds.length - 1),
  what: fc.constantFrom('add', 'remove', 'match', 'match', 'match'),
  topic: fc.constantFrom('t', 'u', '$t'),
  path: fc.constantFrom(undefined, 'x', 'x/y', ''),
  tag: fc.constantFrom(undefined, 'A'),
  publisher: fc.constantFrom('a', 'b'),
})

describe('bindings', () => {
  it('lead where a look at all of them does, while they come and go', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const bindings = new Bindings()
        const known = new Set<Bound>()
        for (const { bound: number, what, topic, path, tag, publisher } of steps) {
          const bound = bounds[number]!
          if (what === 'add' && !known.has(bound)) bindings.add(bound)
          if (what === 'add') known.add(bound)
          if (what === 'remove') bindings.remove(bound)
          if (what === 'remove') known.delete(bound)
          const message: Message = { topic, body: Buffer.alloc(0), properties: {}, ...(tag && { tag }) }
          const expected = found(known, path, message, publisher)
          const routes = bindings.match(path, message, publisher)
          expect(new Map(routes.map(({ target, notes }) => [target, [...(notes ?? [])].sort()]))).toEqual(
            expected.notes,
          )
          expect(routes.length).toBe(expected.notes.size)
          expect(bindings.leavesOut(path, message, publisher)).toBe(expected.isLeftOut)
        }
      }),
      { numRuns },
    )
  })

  it('are found by more names than are remembered, and by as many bindings', () => {
    const bindings = new Bindings()
    const all = Array.from({ length: 700 }, (_, at) =>
      boundOf({ pattern: at % 2 === 0 ? '#' : `t/${at}`, retained: 'skip' }, new InboxState(`i${at}`)),
    )
    for (const bound of all) bindings.add(bound)
    for (const round of [1, 2]) {
      for (let at = 0; at < 700; at++) {
        const message = { topic: 't', body: Buffer.alloc(0), properties: {} }
        expect(bindings.match(`${at}`, message, undefined).length, `${round}`).toBe(at % 2 === 0 ? 350 : 351)
      }
    }
  })
})

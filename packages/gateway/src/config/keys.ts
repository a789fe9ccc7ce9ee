import { schema } from './schema.ts'

/** What is looked at of a zod schema to find its keys. */
interface Introspected {
  readonly shape?: Readonly<Record<string, Introspected>>
  readonly def?: { readonly innerType?: Introspected; readonly element?: Introspected }
}

const root = schema as unknown as Introspected

/** The keys that are known where a path leads, through defaults and lists. */
export const keysAt = (path: readonly PropertyKey[]): readonly string[] => {
  let at = unwrap(root)
  for (const step of path) at = unwrap(typeof step === 'number' ? at?.def?.element : at?.shape?.[String(step)])
  return Object.keys(at?.shape ?? {})
}

const unwrap = (from: Introspected | undefined): Introspected | undefined => {
  let at = from
  while (at && !at.shape && at.def?.innerType) at = at.def.innerType
  return at
}

/** Every key path that has a name; list members do not. */
export const allPaths = (): readonly (readonly string[])[] => pathsBelow(root, [])

const pathsBelow = (from: Introspected, above: readonly string[]): (readonly string[])[] =>
  Object.entries(unwrap(from)?.shape ?? {}).flatMap(([key, inner]) => [
    [...above, key],
    ...pathsBelow(inner, [...above, key]),
  ])

/** The known word that was probably meant. */
export const nearest = (word: string, known: readonly string[]): string | undefined => {
  const scored = known.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
  const best = scored.sort((a, b) => a.distance - b.distance)[0]
  return best && best.distance <= Math.max(2, word.length / 2) ? best.name : undefined
}

const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}

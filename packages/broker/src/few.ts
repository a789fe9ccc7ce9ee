/** None, one, or a set of them: most of a hundred thousand have one. Objects of a class that is no Set. */
export type Few<T extends object> = T | Set<T> | undefined

export const withOne = <T extends object>(few: Few<T>, one: T): Few<T> => {
  if (few === undefined) return one
  if (few instanceof Set) return few.add(one)
  return few === one ? few : new Set([few, one])
}

export const withoutOne = <T extends object>(few: Few<T>, one: T): Few<T> => {
  if (few === one) return undefined
  if (few instanceof Set) {
    few.delete(one)
    if (few.size === 0) return undefined
  }
  return few
}

/** As they are now, in the order they were added: what changes meanwhile does not count. */
export const allOf = <T extends object>(few: Few<T>): readonly T[] => {
  if (few === undefined) return []
  return few instanceof Set ? [...few] : [few]
}

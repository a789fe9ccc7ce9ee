const none: readonly Buffer[] = []
const empty: Buffer = Buffer.alloc(0)
let lately = none
let latelyJoined = empty

const isSame = (some: readonly Buffer[], others: readonly Buffer[]): boolean => {
  if (some.length !== others.length) return false
  for (let at = 0; at < some.length; at++) if (some[at] !== others[at]) return false
  return true
}

const forget = (): void => {
  lately = none
  latelyJoined = empty
}

/**
 * These parts, which nobody changes any more, behind one another. Who gets the same parts in the same turn as the one before,
 * as the readers of a fan-out do, gets the same bytes; after the turn none of them is kept.
 * @param bytes of all of them
 */
export const joined = (parts: readonly Buffer[], bytes: number): Buffer => {
  if (isSame(parts, lately)) return latelyJoined
  if (lately === none) setImmediate(forget)
  lately = parts
  return (latelyJoined = Buffer.concat(parts, bytes))
}

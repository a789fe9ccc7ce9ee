/** Whole numbers beyond 2^53 are kept exact: ids of 64 bits are compared, not only counts. */
export type Num = number | bigint
/** Undefined is SQL's unknown: an absent property, and whatever is made of one. */
export type Value = string | Num | boolean | undefined

const NUMERIC = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/
const WHOLE = /^[+-]?\d+$/
const SAFE_DIGITS = 15
const BIG_DIGITS = 64

/** Undefined: no number. Blanks around it are not taken away. */
export const numberOf = (value: Value): Num | undefined => {
  if (typeof value !== 'string') return typeof value === 'boolean' ? undefined : value
  if (!NUMERIC.test(value)) return undefined
  if (value.length > SAFE_DIGITS && value.length <= BIG_DIGITS && WHOLE.test(value)) {
    const number = BigInt(value.replace('+', ''))
    return BigInt.asIntN(53, number) === number ? Number(number) : number
  }
  return finite(Number(value))
}

export const finite = (number: number): number | undefined => (Number.isFinite(number) ? number : undefined)

/** TRUE and FALSE in any case are a property's booleans. */
export const booleanOf = (value: Value): boolean | undefined => {
  if (typeof value === 'boolean') return value
  if (typeof value !== 'string' || value.length > 5) return undefined
  const word = value.toLowerCase()
  return word === 'true' ? true : word === 'false' ? false : undefined
}

/** Numbers and booleans as their literals are written. */
export const textOf = (value: Value): string | undefined =>
  value === undefined || typeof value === 'string' ? value : String(value)

/**
 * Text against text as it stands; a number against numeric text as numbers; a boolean against `true` and `false`.
 * Undefined: they cannot be compared. Source: RocketMQ, where such a message is not delivered either.
 */
export const equal = (left: Value, right: Value): boolean | undefined => {
  if (left === undefined || right === undefined) return undefined
  if (typeof left === typeof right) return left === right
  if (typeof left === 'boolean' || typeof right === 'boolean') {
    const [a, b] = [booleanOf(left), booleanOf(right)]
    return a === undefined || b === undefined ? undefined : a === b
  }
  const order = orderOf(left, right)
  return order === undefined ? undefined : order === 0
}

/** Below, at or above 0 as `left` is to `right`, both as numbers. Undefined: one of them is none. */
export const orderOf = (left: Value, right: Value): number | undefined => {
  const a = numberOf(left)
  const b = numberOf(right)
  if (a === undefined || b === undefined) return undefined
  return a < b ? -1 : a > b ? 1 : 0
}

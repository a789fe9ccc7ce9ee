import { Fault } from './model.ts'

/** What an option of a protocol may be. Options come from programs, whose compiler checks them, and from files, where nobody does. */
export type OptionKind =
  | { readonly kind: 'boolean' | 'text' }
  /** One of these. */
  | { readonly kind: 'choice'; readonly of: readonly string[] }
  /** Bounds included. */
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  /** A list of texts; `of`: of these alone. */
  | { readonly kind: 'texts'; readonly of?: readonly string[] }

/** One kind for every option that a protocol has. */
export type OptionKinds<T> = { readonly [K in keyof Required<T>]: OptionKind }

/** @throws Fault 'invalid' about the option that is unknown or not of its kind */
export const checkOptions = <T extends object>(given: T, kinds: OptionKinds<T>): T => {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(kinds, name)) {
      throw new Fault('invalid', `no such option; there are ${Object.keys(kinds).join(', ') || 'none'}`, {
        about: name,
      })
    }
    const kind = (kinds as Readonly<Record<string, OptionKind>>)[name]!
    if (value !== undefined && !fits(value, kind))
      throw new Fault('invalid', `is not ${wordsOf(kind)}`, { about: name })
  }
  return given
}

const fits = (value: unknown, kind: OptionKind): boolean => {
  switch (kind.kind) {
    case 'boolean':
      return typeof value === 'boolean'
    case 'text':
      return typeof value === 'string'
    case 'choice':
      return typeof value === 'string' && kind.of.includes(value)
    case 'integer':
      return Number.isInteger(value) && (value as number) >= kind.min && (value as number) <= kind.max
    case 'texts':
      return Array.isArray(value) && value.every((one) => typeof one === 'string' && (kind.of?.includes(one) ?? true))
  }
}

const wordsOf = (kind: OptionKind): string => {
  switch (kind.kind) {
    case 'boolean':
      return 'true or false'
    case 'text':
      return 'a text'
    case 'choice':
      return `one of ${kind.of.join(', ')}`
    case 'integer':
      return `an integer from ${kind.min} to ${kind.max}`
    case 'texts':
      return kind.of ? `a list of ${kind.of.join(', ')}` : 'a list of texts'
  }
}

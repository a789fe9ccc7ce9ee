import { Fault } from '@sluice/core'

/** Custom header fields of a request. */
export type Ext = Readonly<Record<string, string>>

const INT = /^-?\d{1,19}$/

const missing = (name: string) => new Fault('malformed', `field ${name} is missing`)

/** @throws Fault 'malformed' when it is absent or empty */
export const text = (ext: Ext, name: string): string => {
  const value = ext[name]
  if (value === undefined || value === '') throw missing(name)
  return value
}

/** @throws Fault 'malformed' when it is no integer, or beyond 2^53 - 1 */
export const integer = (ext: Ext, name: string, absent?: number): number => {
  const value = ext[name]
  if (value === undefined || value === '') {
    if (absent === undefined) throw missing(name)
    return absent
  }
  const number = short(value)
  if (number >= 0) return number
  return long(name, value)
}

/** Up to fifteen digits, most of all numbers; −1: something else. */
const short = (value: string): number => {
  if (value.length > 15) return -1
  let number = 0
  for (let at = 0; at < value.length; at++) {
    const digit = value.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number
}

const long = (name: string, value: string): number => {
  const number = Number(value)
  if (!INT.test(value) || !Number.isSafeInteger(number)) throw new Fault('malformed', `field ${name} is no integer`)
  return number
}

/** A time, where the longest one is as good as any. @throws as {@link integer} */
export const time = (ext: Ext, name: string): number => {
  const value = text(ext, name)
  if (!INT.test(value)) throw new Fault('malformed', `field ${name} is no integer`)
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number(value), Number.MAX_SAFE_INTEGER))
}

/** The Go client capitalises some names. */
export const either = (ext: Ext, name: string): string => {
  const capital = name.charAt(0).toUpperCase() + name.slice(1)
  return ext[name] === undefined && ext[capital] !== undefined ? capital : name
}

export const json = (body: Buffer | undefined): Readonly<Record<string, unknown>> => {
  if (!body) throw new Fault('malformed', 'the body is missing')
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // said below
  }
  throw new Fault('malformed', 'the body is no JSON object')
}

export const list = (value: unknown): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value)
    ? value.filter((one): one is Record<string, unknown> => typeof one === 'object' && one !== null)
    : []

export const string = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

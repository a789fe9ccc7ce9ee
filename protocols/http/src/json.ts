import { isUtf8 } from 'node:buffer'
import { Fault } from '@sluice/core'

/** Deepest nesting that is read. */
export const DEPTH_MAX = 64

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Whether brackets nest deeper than `max`. What is not JSON may get any answer. */
const deeper = (bytes: Buffer, max: number): boolean => {
  let depth = 0
  let quoted = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (quoted) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) quoted = false
    } else if (byte === QUOTE) quoted = true
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > max) return true
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return false
}

/** @throws Fault 'malformed': no UTF-8, no JSON, nested deeper than {@link DEPTH_MAX} */
export const readJson = (bytes: Buffer): { readonly value: unknown; readonly text: string } => {
  if (!isUtf8(bytes)) throw new Fault('malformed', 'the body is not UTF-8', { about: 'body' })
  if (deeper(bytes, DEPTH_MAX)) {
    throw new Fault('malformed', `the body nests deeper than ${DEPTH_MAX} levels`, { about: 'body' })
  }
  const text = bytes.toString('utf8')
  try {
    return { value: JSON.parse(text), text }
  } catch {
    throw new Fault('malformed', 'the body is not JSON', { about: 'body' })
  }
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// ── Where values stand in a text that is known to be JSON: what is passed on keeps its very spelling ────────────────

export type Span = readonly [from: number, to: number]

const blank = (text: string, at: number): number => {
  while (text.charCodeAt(at) <= 0x20) at++
  return at
}

/** `at`: the opening quote. Answers the place after the closing one. */
const afterString = (text: string, at: number): number => {
  for (at++; text.charCodeAt(at) !== QUOTE; at++) if (text.charCodeAt(at) === BACKSLASH) at++
  return at + 1
}

const afterValue = (text: string, at: number): number => {
  const first = text[at]
  if (first === '"') return afterString(text, at)
  if (first !== '{' && first !== '[') {
    while (at < text.length && !/[,\]}\s]/.test(text[at]!)) at++
    return at
  }
  for (let depth = 0; ; ) {
    const char = text[at]
    if (char === '"') {
      at = afterString(text, at)
      continue
    }
    at++
    if (char === '{' || char === '[') depth++
    else if ((char === '}' || char === ']') && --depth === 0) return at
  }
}

/** The elements of the array whose bracket is the first thing from `at` on. */
export const elements = (text: string, at = 0): readonly Span[] => {
  const spans: Span[] = []
  at = blank(text, blank(text, at) + 1)
  while (text[at] !== ']') {
    const to = afterValue(text, at)
    spans.push([at, to])
    at = blank(text, to)
    if (text[at] === ',') at = blank(text, at + 1)
  }
  return spans
}

/** The value of the member `name` of the object whose brace is the first thing from `at` on; of two, the last. */
export const member = (text: string, name: string, at = 0): Span | undefined => {
  let found: Span | undefined
  at = blank(text, blank(text, at) + 1)
  while (text[at] !== '}') {
    const end = afterString(text, at)
    const key: unknown = JSON.parse(text.slice(at, end))
    at = blank(text, blank(text, end) + 1)
    const to = afterValue(text, at)
    if (key === name) found = [at, to]
    at = blank(text, to)
    if (text[at] === ',') at = blank(text, at + 1)
  }
  return found
}

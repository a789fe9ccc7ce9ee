import { Fault } from '@sluice/core'
import type { Fields, Unfit } from './hpack.ts'

/** What a client says first. [RFC 9113 §3.4] */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
export const HEAD_BYTES = 9
/** Largest payload of a frame that we take, and that peers take unless they say otherwise. */
export const PAYLOAD_BYTES = 16_384
export const LAST_STREAM = 2 ** 31 - 1
/** Where the windows of peers begin, and the most that they are. [§6.9] */
export const FIRST_WINDOW = 65_535
export const WINDOW_MAX = 2 ** 31 - 1

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  window: 8,
  more: 9,
}
export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4
export const PADDED = 8
export const PRIORITY = 32

/** [§7] */
export const errors = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const
export type ErrorName = keyof typeof errors

/** The peer broke HTTP/2: `about` is the name of the error. */
export const violation = (about: ErrorName, why: string): Fault => new Fault('malformed', why, { about })

/** Identifiers of settings. [§6.5.2] */
export const setting = { tableSize: 1, push: 2, streams: 3, window: 4, frameSize: 5, listSize: 6 } as const

export type Frame =
  /** `counted`: bytes of flow control, padding with them. */
  | {
      readonly kind: 'data'
      readonly stream: number
      readonly bytes: Buffer
      readonly counted: number
      readonly last: boolean
    }
  | {
      readonly kind: 'headers'
      readonly stream: number
      readonly fields: Fields | Unfit
      readonly last: boolean
    }
  | { readonly kind: 'reset'; readonly stream: number; readonly error: number }
  /** Empty from us: theirs are heard. */
  | { readonly kind: 'settings'; readonly values: readonly (readonly [id: number, value: number])[] }
  | { readonly kind: 'settingsAck' }
  | { readonly kind: 'ping'; readonly ack: boolean; readonly opaque: Buffer }
  | { readonly kind: 'goAway'; readonly last: number; readonly error: number }
  | { readonly kind: 'window'; readonly stream: number; readonly bytes: number }
  /** Frames that were made elsewhere. */
  | { readonly kind: 'raw'; readonly bytes: Buffer }

const FRAME_SIZE_MAX = 2 ** 24 - 1

/** @throws Fault 'malformed': a value that a setting cannot have [§6.5.2] */
export const checkSetting = (id: number, value: number): void => {
  if (id === setting.push && value > 1) throw violation('PROTOCOL_ERROR', `push is ${value}`)
  if (id === setting.window && value > WINDOW_MAX) throw violation('FLOW_CONTROL_ERROR', 'a window beyond 2^31')
  if (id === setting.frameSize && (value < PAYLOAD_BYTES || value > FRAME_SIZE_MAX)) {
    throw violation('PROTOCOL_ERROR', `frames of ${value} bytes`)
  }
}

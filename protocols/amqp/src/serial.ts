/** Serial numbers of 32 bits: they wrap, and comparing them means looking at their distance. [RFC 1982] */
export type Serial = number

export const add = (serial: Serial, count: number): Serial => (serial + count) >>> 0

/** How far `to` is ahead of `from`; negative when it is behind. -2^31 to 2^31 - 1. */
export const ahead = (to: Serial, from: Serial): number => (to - from) | 0

/** Whether it is one of those from `first` on to `last`, both included. */
export const within = (serial: Serial, first: Serial, last: Serial): boolean =>
  (serial - first) >>> 0 <= (last - first) >>> 0

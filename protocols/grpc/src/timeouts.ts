import type { IncomingHttpHeaders } from 'node:http2'

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 }
const LONGEST_MS = 2 ** 31 - 1

/**
 * Takes out a `grpc-timeout` of 2^31 ms (24.8 days) and more, which means none to us: Java opens its telemetry stream with
 * 60 years, grpc-js computes in 32 bits, gets a negative number, and would end the stream at once.
 *   grpc-timeout = 1*8DIGIT ( "H" | "M" | "S" | "m" | "u" | "n" )
 */
export const dropEndlessTimeout = (headers: IncomingHttpHeaders): void => {
  const text = headers['grpc-timeout']
  if (typeof text !== 'string') return
  const parts = /^(\d{1,8})([HMSmun])$/.exec(text)
  if (parts && Number(parts[1]) * (unitMs[parts[2] as string] as number) > LONGEST_MS) delete headers['grpc-timeout']
}

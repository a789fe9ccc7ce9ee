import type { EpochMs } from '@sluice/core'

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 }

/**
 * When a client stops waiting; Infinity: never, also where it says what is no time. Far beyond what a timer takes: Java
 * opens its telemetry with 60 years.
 *   grpc-timeout = 1*8DIGIT ( "H" | "M" | "S" | "m" | "u" | "n" )
 */
export const deadlineOf = (timeout: string | undefined, now: EpochMs): EpochMs => {
  if (timeout === undefined) return Number.POSITIVE_INFINITY
  const unit = unitMs[timeout.at(-1) ?? '']
  return unit !== undefined && /^\d{1,8}.$/.test(timeout)
    ? now + Number.parseInt(timeout, 10) * unit
    : Number.POSITIVE_INFINITY
}

import type { Ms } from './model.ts'

/** What one client may cost. Each bound has a test that reaches it. */
export interface Limits {
  /** Bytes of one message body. */
  readonly bodyBytes: number
  /** Bytes of one protocol frame: a body plus its properties and headers. Announced lengths above it are refused at once. */
  readonly frameBytes: number
  /** Requests of one connection without an answer; beyond it the socket is not read. */
  readonly inflight: number
  /** Requests of one session without an answer, over all its connections and streams. */
  readonly sessionInflight: number
  /** Parked polls of one session. */
  readonly parked: number
  /** Bytes that wait for a slow reader; beyond it the connection is not read and its pump gets no credit. */
  readonly outboundBytes: number
  /** From accept to the first complete frame. */
  readonly handshakeMs: Ms
  /** From the first byte of a frame to its last. */
  readonly frameMs: Ms
  /** How long a reader may take nothing at all while bytes wait for it. */
  readonly stallMs: Ms
  /** Longest wait of a poll. */
  readonly pollMs: Ms
  /** Connections of the process. */
  readonly connections: number
}

export const defaultLimits: Limits = {
  bodyBytes: 4 * 1024 * 1024,
  frameBytes: 4 * 1024 * 1024 + 128 * 1024,
  inflight: 1024,
  sessionInflight: 4096,
  parked: 1024,
  outboundBytes: 8 * 1024 * 1024,
  handshakeMs: 10_000,
  frameMs: 30_000,
  stallMs: 60_000,
  pollMs: 30_000,
  connections: 16_000,
}

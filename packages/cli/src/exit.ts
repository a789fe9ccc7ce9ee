/** What the command's exit code says; stable. */
export const exit = {
  ok: 0,
  /** Something was forced with work in flight, or an unexpected failure. */
  failed: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  timedOut: 5,
} as const

export type ExitCode = (typeof exit)[keyof typeof exit]

/** Ends the command with a code and a sentence on stderr. */
export class CommandError extends Error {
  readonly code: ExitCode
  constructor(code: ExitCode, message: string) {
    super(message)
    this.name = 'CommandError'
    this.code = code
  }
}

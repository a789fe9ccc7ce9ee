import type { Context, Interceptor, Kind } from '@sluice/core'

/** A span around one command. */
export interface Span {
  end(error?: unknown): void
}

/** The hook for a tracer; undefined: this command is not sampled, and costs nothing more. */
export interface Tracer {
  start(kind: Kind, context: Context): Span | undefined
}

/** Without a tracer the stage is not there at all. */
export const trace =
  (tracer: Tracer | undefined): Interceptor =>
  (next) => {
    if (!tracer) return next
    return (command, context) => {
      const span = tracer.start(command.kind, context)
      const reply = next(command, context)
      if (span) {
        reply.then(
          () => span.end(),
          (error: unknown) => span.end(error),
        )
      }
      return reply
    }
  }

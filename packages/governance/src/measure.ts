import {
  type Batch,
  type Command,
  type EpochMs,
  Fault,
  type FaultCode,
  type Interceptor,
  type Kind,
  type Stored,
} from '@sluice/core'

/** Takes the figures of one command. Called on the hot path: no strings are made here. */
export interface Meter {
  began(protocol: string): void
  ended(protocol: string, kind: Kind, outcome: 'ok' | FaultCode, took: number): void
  messagesIn(protocol: string, messages: number, bytes: number): void
  messagesOut(protocol: string, messages: number): void
  /** A poll began (1) or was answered (-1). */
  polls(protocol: string, change: 1 | -1): void
}

/** `now`: ms with fractions. */
export const measure =
  (meter: Meter | undefined, now: () => EpochMs): Interceptor =>
  (next) => {
    if (!meter) return next
    return (command, context) => {
      const { protocol } = context.session
      const began = now()
      meter.began(protocol)
      const reply = next(command, context)
      reply.then(
        (result) => {
          meter.ended(protocol, command.kind, 'ok', now() - began)
          if (command.kind === 'publish')
            countIn(meter, protocol, command as Publish, 'stored' in result ? result.stored : [])
          else if ('batch' in result) meter.messagesOut(protocol, (result.batch as Batch).count)
        },
        (error: unknown) =>
          meter.ended(protocol, command.kind, Fault.is(error) ? error.code : 'internal', now() - began),
      )
      return reply
    }
  }

type Publish = Extract<Command, { kind: 'publish' }>

/** A oneway publish is not told what became of it: it counts as stored. */
const countIn = (meter: Meter, protocol: string, { messages }: Publish, stored: readonly (Stored | Fault)[]): void => {
  let count = 0
  let bytes = 0
  messages.forEach(({ body }, at) => {
    if (Fault.is(stored[at])) return
    count++
    bytes += body.length
  })
  meter.messagesIn(protocol, count, bytes)
}

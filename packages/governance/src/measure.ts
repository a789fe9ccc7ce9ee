import {
  type Batch,
  type Command,
  type EpochMs,
  Fault,
  type FaultCode,
  type Interceptor,
  type Kind,
} from '@sluice/core'

/** Takes the figures of one command. Called on the hot path: no strings are made here. */
export interface Meter {
  began(protocol: string): void
  ended(protocol: string, kind: Kind, outcome: 'ok' | FaultCode, took: number): void
  messagesIn(protocol: string, messages: number, bytes: number): void
  messagesOut(protocol: string, messages: number): void
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
          if (command.kind === 'publish') countIn(meter, protocol, command as Command & { kind: 'publish' })
          else if ('batch' in result) meter.messagesOut(protocol, (result.batch as Batch).count)
        },
        (error: unknown) =>
          meter.ended(protocol, command.kind, Fault.is(error) ? error.code : 'internal', now() - began),
      )
      return reply
    }
  }

const countIn = (meter: Meter, protocol: string, command: Command & { kind: 'publish' }): void => {
  let bytes = 0
  for (const { body } of command.messages) bytes += body.length
  meter.messagesIn(protocol, command.messages.length, bytes)
}

import { type Batch, type Command, Fault, type FaultCode, type Kind, type Ms, type Stored } from '@sluice/core'

/** Takes the figures of one command. Called on the hot path: no strings are made here. */
export interface Meter {
  began(protocol: string): void
  ended(protocol: string, kind: Kind, outcome: 'ok' | FaultCode, took: Ms): void
  messagesIn(protocol: string, messages: number, bytes: number): void
  messagesOut(protocol: string, messages: number): void
  /** A poll began (1) or was answered (-1). */
  polls(protocol: string, change: 1 | -1): void
}

/** The messages that a command moved. */
export const countMessages = (meter: Meter, protocol: string, command: { kind: Kind }, reply: object): void => {
  if (command.kind === 'publish')
    countIn(meter, protocol, command as Publish, 'stored' in reply ? (reply.stored as readonly Stored[]) : [])
  else if ('batch' in reply) meter.messagesOut(protocol, (reply.batch as Batch).count)
}

type Publish = Extract<Command, { kind: 'publish' }>

/** A oneway publish is not told what became of it: it counts as stored. */
const countIn = (meter: Meter, protocol: string, { messages }: Publish, stored: readonly (Stored | Fault)[]): void => {
  let count = 0
  let bytes = 0
  for (let at = 0; at < messages.length; at++) {
    if (Fault.is(stored[at])) continue
    count++
    bytes += messages[at]!.body.length
  }
  meter.messagesIn(protocol, count, bytes)
}

import type { Binding, Clock, Context, Principal, Session, Signal } from '@sluice/core'
import type { Resumption } from './holders.ts'
import { malformed, type Reader } from './reader.ts'
import { readValue, writeValue } from './values.ts'
import type { Writer } from './writer.ts'

/** What a session's frame says of it; the session's number is the frame's id. */
export const writeSession = (writer: Writer, session: Session): void => {
  const { id, client, principal, protocol, language, version, remoteAddress, localAddress } = session
  writeValue(writer, { id, client, principal, protocol, language, version, remoteAddress, localAddress })
}

/** @throws Fault 'malformed' */
export const readSession = (reader: Reader, notify: (id: string) => Session['notify']): Session => {
  const said = readValue(reader) as Session
  if (typeof said !== 'object' || said === null || typeof said.id !== 'string' || typeof said.client !== 'string')
    throw malformed('no session')
  return { ...said, notify: notify(said.id) }
}

const POLL = 1
const PRINCIPAL = 2
const TRACED = 4

/** Clocks of two machines differ: a deadline travels as what is left. */
export const writeContext = (writer: Writer, context: Context, session: number, clock: Clock): void => {
  const { principal, deadline, signal, traceparent } = context
  const own = principal === context.session.principal
  writer.number(session)
  writer.byte((signal ? POLL : 0) | (own ? 0 : PRINCIPAL) | (traceparent === undefined ? 0 : TRACED))
  writer.number(Math.max(0, Math.ceil(deadline - clock.now())))
  if (!own) writeValue(writer, principal)
  if (traceparent !== undefined) writer.text(traceparent)
}

/** @throws Fault 'malformed' for a session that was not told */
export const readContext = (
  reader: Reader,
  sessions: ReadonlyMap<number, Session>,
  clock: Clock,
  signal: () => Signal,
): Context => {
  const session = sessions.get(reader.number())
  if (!session) throw malformed('no such session')
  const bits = reader.byte()
  const deadline = Math.min(clock.now() + reader.number(), Number.MAX_SAFE_INTEGER)
  const principal = bits & PRINCIPAL ? (readValue(reader) as Principal) : session.principal
  return {
    session,
    principal,
    deadline,
    ...(bits & POLL && { signal: signal() }),
    ...(bits & TRACED && { traceparent: reader.text() }),
  }
}

/** Before an `open` that resumes. */
export const writeResumption = (writer: Writer, { epoch, holding, bindings }: Resumption): void => {
  writer.number(epoch).number(holding.length)
  for (const slot of holding) writer.number(slot)
  writeValue(writer, bindings)
}

export const readResumption = (reader: Reader): Omit<Resumption, 'open'> => {
  const epoch = reader.number()
  const holding: number[] = []
  for (let left = reader.count(); left > 0; left--) holding.push(reader.number())
  const bindings = readValue(reader)
  if (!Array.isArray(bindings)) throw malformed('no bindings')
  return { epoch, holding, bindings: bindings as Binding[] }
}

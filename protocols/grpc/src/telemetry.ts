import type { ServerDuplexStream } from '@grpc/grpc-js'
import { Fault } from '@sluice/core'
import { type Asker, contextOf, type Hall } from './calls.ts'
import { ok } from './faults.ts'
import { toSettings } from './settings.ts'
import type { Settings, TelemetryCommand } from './wire.ts'

export type TelemetryStream = ServerDuplexStream<TelemetryCommand, TelemetryCommand>

/**
 * Telemetry: each settings message is answered at once by complete settings; that is what a client waits for at its
 * start, some of them for ever. A stream may say nothing for minutes. It ends when the client ends it, or by the drain.
 */
export const telemetry = async (stream: TelemetryStream, asker: () => Promise<Asker>, hall: Hall): Promise<void> => {
  try {
    const who = await asker()
    for await (const command of stream as AsyncIterable<TelemetryCommand>) {
      who.client.seenAt = hall.gateway.clock.now()
      // Answers to questions that we never ask yet are taken and dropped.
      if (!command.settings) continue
      const settings = await configure(command.settings, who, hall)
      if (!(await write(stream, { status: ok, settings }, who))) return
    }
  } catch (error) {
    // The stream is ended by whoever leaves first: an iterator that is cut off says so by throwing.
    if (!stream.cancelled && !stream.destroyed) stream.write({ status: hall.refuse(error) })
  }
  stream.end()
}

const configure = async (asked: Settings, asker: Asker, hall: Hall): Promise<Settings> => {
  const member = asker.client.configure(asked)
  const [group] = member.consumes
  try {
    await hall.gateway.handle({ kind: 'heartbeat', member }, contextOf(asker, hall))
    const info = group && (await hall.groups.of(group.group, contextOf(asker, hall)))
    return toSettings(asked, info, hall.gateway.limits)
  } catch (error) {
    // A broker that is away for a moment must not keep clients from starting: the next heartbeat tells it.
    if (refusals.has(Fault.from(error).code)) throw error
    hall.refuse(error)
    return toSettings(asked, undefined, hall.gateway.limits)
  }
}

const refusals: ReadonlySet<string> = new Set([
  'unauthenticated',
  'forbidden',
  'invalid',
  'unsupported',
  'groupNotFound',
])

const write = (stream: TelemetryStream, command: TelemetryCommand, { exchange }: Asker): Promise<boolean> =>
  new Promise((resolve) => {
    void exchange.ended.then(() => resolve(false))
    stream.write(command, () => resolve(!exchange.over))
  })

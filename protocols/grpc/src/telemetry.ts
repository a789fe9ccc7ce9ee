import { randomUUID } from 'node:crypto'
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { Fault, type Ms } from '@sluice/core'
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
    const { client, exchange } = who
    const say = (command: TelemetryCommand) => void stream.write(command)
    void exchange.ended.then(() => client.line.closed(say))
    await eachOf(stream, async (command) => {
      client.seenAt = hall.gateway.clock.now()
      if (!command.settings) return client.line.heard(command)
      const answer = { status: ok, settings: await configure(command.settings, who, hall) }
      await write(stream, answer, who)
      if (exchange.over) return
      client.line.spoke(say)
      if (client.reconnects) exchange.leave = () => say({ reconnect_endpoints_command: { nonce: randomUUID() } })
      if (command.settings.user_agent?.language === 'NODE_JS') sayAgain(stream, answer, who, hall)
    })
  } catch (error) {
    stream.write({ status: hall.refuse(error) })
  }
  stream.end()
}

/** When an answer is repeated, after it was given. */
const AGAIN: readonly Ms[] = [500, 5_000]

/**
 * The Node client drops an answer that comes while it still asks for the routes of its second topic, and then waits for
 * another one, for ever.
 */
const sayAgain = (stream: TelemetryStream, answer: TelemetryCommand, { exchange }: Asker, { gateway }: Hall): void => {
  const stops = AGAIN.map((after) => gateway.clock.after(after, () => void stream.write(answer)))
  void exchange.ended.then(() => {
    for (const stop of stops) stop()
  })
}

/** One after another, the next not read before; until the client ends the stream, or it breaks. */
const eachOf = (stream: TelemetryStream, take: (command: TelemetryCommand) => Promise<void>): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.on('data', (command: TelemetryCommand) => {
      stream.pause()
      take(command).then(() => void stream.resume(), reject)
    })
    stream.on('end', resolve).on('close', resolve)
  })

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

const write = (stream: TelemetryStream, command: TelemetryCommand, { exchange }: Asker): Promise<void> =>
  new Promise((resolve) => {
    void exchange.ended.then(() => resolve())
    stream.write(command, () => resolve())
  })

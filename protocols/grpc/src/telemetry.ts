import { randomUUID } from 'node:crypto'
import { type Clock, Fault, type Ms } from '@sluice/core'
import { type Asker, contextOf, type Hall } from './calls.ts'
import type { Exchange } from './exchange.ts'
import { ok } from './faults.ts'
import { toSettings } from './settings.ts'
import type { Settings, TelemetryCommand } from './wire.ts'

/**
 * Telemetry: each settings message is answered at once by complete settings; that is what a client waits for at its
 * start, some of them for ever. A stream may say nothing for minutes. It ends when the client ends it, or by the drain.
 */
export const telemetry = async (exchange: Exchange, asker: () => Promise<Asker>, hall: Hall): Promise<void> => {
  exchange.finish = () => exchange.end()
  // Rust does not go on before it has seen headers.
  exchange.respond()
  try {
    const who = await asker()
    const { client } = who
    const say = (command: TelemetryCommand) => exchange.write(command)
    const again = new Again(exchange, hall.gateway.clock)
    exchange.whenEnded(() => {
      client.line.closed(say)
      again.stop()
    })
    await exchange.each(async (command: TelemetryCommand) => {
      client.seenAt = hall.gateway.clock.now()
      if (!command.settings) return client.line.heard(command)
      const answer = { status: ok, settings: await configure(command.settings, who, hall) }
      await exchange.written(answer)
      if (exchange.over) return
      client.line.spoke(say)
      if (client.reconnects) exchange.leave = () => say({ reconnect_endpoints_command: { nonce: randomUUID() } })
      if (command.settings.user_agent?.language === 'NODE_JS') again.say(answer)
    })
  } catch (error) {
    exchange.write({ status: hall.refuse(error) })
  }
  exchange.end()
}

/** When an answer is repeated, after it was given. */
const AGAIN: readonly Ms[] = [500, 5_000]

/**
 * The Node client drops an answer that comes while it still asks for the routes of its second topic, and then waits for
 * another one, for ever.
 */
class Again {
  readonly #exchange: Exchange
  readonly #clock: Clock
  #stops: readonly (() => void)[] = []

  constructor(exchange: Exchange, clock: Clock) {
    this.#exchange = exchange
    this.#clock = clock
  }

  say(answer: TelemetryCommand): void {
    this.stop()
    this.#stops = AGAIN.map((after) => this.#clock.after(after, () => this.#exchange.write(answer)))
  }

  stop(): void {
    for (const stop of this.#stops) stop()
  }
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

import { fileURLToPath } from 'node:url'
import type { Bench, Contender, Server, Stage } from './harness.ts'
import { startMosquitto } from './mosquitto.ts'
import { ours } from './ours.ts'

const file = new URL('./mqtt/idle.ts', import.meta.url)
const bareServer = fileURLToPath(new URL('./mqtt/bare.ts', import.meta.url))

/** What is said before the silence. */
type Says = 'nothing' | 'connect' | 'subscribe'

const round = (stage: Stage, { pid }: Server, port: number, says: Says) => {
  const [count, settleMs] = stage.full ? [15_000, 5_000] : [2_000, 1_000]
  return stage.load(file, { port, pid, count, says, settleMs })
}

/** A server a round: memory that one round has brought in would be there for the next. */
const contender = (
  name: string,
  says: Says,
  start: (stage: Stage) => Promise<(Server & { readonly port: number }) | string>,
): Contender => ({
  name,
  async start(stage) {
    return {
      async run() {
        const server = await start(stage)
        if (typeof server === 'string') throw new Error(server)
        try {
          return await round(stage, server, server.port, says)
        } finally {
          await server.stop()
        }
      },
    }
  },
})

const bare = async (stage: Stage) => {
  const server = await stage.server({
    command: process.execPath,
    args: [bareServer],
    ready: (line) => line.startsWith('ready'),
  })
  return { ...server, port: Number(server.readyLine.split(' ')[1]) }
}

const sluice = (stage: Stage) =>
  ours(stage, { flush: 'async', data: stage.folder(), set: ['limits.connections=18000', 'limits.handshakeMs=60000'] })

const OURS = 'ours'
const SUBSCRIBED = 'ours, subscribed'
const BARE = 'bare node:net'
const MOSQUITTO = 'mosquitto'

const bench: Bench = {
  method:
    'Connections that are opened 200 at a time and then idle, 15,000 with --full and 2,000 without; memory a connection is the growth of the resident set until some seconds after the last one, without a collection that is asked for. MQTT 3.1.1 with a session each, and once more with a subscription each, QoS 1 to a topic of its own: only such a client waits for messages. The bare server is node:net without a protocol. A server of its own for each round.',
  rounds: { quick: 1, full: 3 },
  contenders: () => [
    contender(OURS, 'connect', sluice),
    contender(SUBSCRIBED, 'subscribe', sluice),
    contender(BARE, 'nothing', bare),
    contender(MOSQUITTO, 'connect', startMosquitto),
  ],
  pairs: [
    [OURS, BARE],
    [SUBSCRIBED, BARE],
    [OURS, MOSQUITTO],
  ],
  targets: [{ of: OURS, against: BARE, metric: 'kibEach', atMost: 3 }],
}

export default bench

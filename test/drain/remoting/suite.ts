/** Two gateways of one broker are replaced in turn under unmodified clients, those that know GO_AWAY and those that do not. */
import assert from 'node:assert/strict'
import { type Player, players } from '../../interop/remoting/players.ts'
import { Checks, type Suite } from '../../run/suites.ts'
import { Pair } from './pair.ts'
import { Traffic } from './traffic.ts'

interface Bounds {
  readonly client: string
  /** Of a send with all its retries, and of a message from the log to its listener. */
  readonly sendMs: number
  readonly receiveMs: number
  readonly fullOnly?: true
}

/**
 * Beside others on two cores. A send that crosses the end waits for its timeout of 3 s, a pull for its of 30 s: they would
 * be seen still.
 */
const LOADED = { sendMs: 2_900, receiveMs: 15_000 }

const bounds: readonly Bounds[] = [
  { client: 'rocketmq-client 5.5.0', sendMs: 1_000, receiveMs: 2_500 },
  { client: 'rocketmq-client 4.9.8', sendMs: 1_000, receiveMs: 2_500 },
  // A pull of Go's pauses for three seconds; a send that met the end waits as long before it is tried again.
  { client: 'rocketmq-client-go v2.1.2', sendMs: 4_500, receiveMs: 4_500, fullOnly: true },
]

const suite: Suite = async ({ profile }) => {
  const checks = new Checks()
  const rounds = profile === 'full' ? 10 : 4
  for (const one of bounds) {
    const asserted = profile === 'full' ? one : { ...one, ...LOADED }
    const name = `${one.client}: ${rounds} gateways leave, no send fails or takes ${asserted.sendMs} ms`
    if (one.fullOnly && profile !== 'full') checks.skip(name, 'in the full profile only')
    else await checks.check(name, () => roll(asserted, rounds))
  }
  return checks.counts
}

export default suite

const roll = async ({ client, sendMs, receiveMs }: Bounds, rounds: number): Promise<void> => {
  const player = players.find(({ name }) => name === client) as Player
  const [pair, agent] = await Promise.all([Pair.open(), player.start()])
  try {
    const traffic = new Traffic(agent, pair.nameserver, 'rolled')
    await traffic.start()
    for (let round = 0; round < rounds; round++) assert.ok(await pair.replaceOlder(), `drain ${round} was not clean`)
    const { failed, lost, sent, twice, slowestMs, latestMs } = await traffic.stop()
    console.log(
      `     ${sent} sent, the slowest took ${slowestMs} ms; ${twice} came twice, the latest after ${latestMs} ms`,
    )
    assert.deepEqual(failed, [])
    assert.equal(lost, 0)
    assert.ok(slowestMs < sendMs, `a send took ${slowestMs} ms`)
    assert.ok(latestMs < receiveMs, `a message came after ${latestMs} ms`)
  } finally {
    await Promise.all([agent.close(), pair.close()])
  }
}

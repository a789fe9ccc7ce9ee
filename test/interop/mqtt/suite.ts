import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type SluiceProcess, startSluice } from '../../run/process.ts'
import { Checks, type Suite } from '../../run/suites.ts'
import { Agent, type Client, clients, exactlyOnce, mosquitto, prepareMosquitto } from './agents.ts'
import { Relay, type Step } from './relay.ts'

/** Messages a client and kills, by profile. */
const sizes = { ci: { messages: 300, kills: 5 }, full: { messages: 1_000, kills: 20 } } as const
const QUEUED = 20

/** A gateway that is killed and comes back on the same data, always at the same address. */
class Bench {
  readonly relay = new Relay()
  readonly #data = mkdtempSync(path.join(tmpdir(), 'sluice-mqtt-interop-'))
  #gateway: SluiceProcess | undefined

  async start(): Promise<void> {
    this.#gateway = await startSluice({ data: this.#data })
    this.relay.back(this.#gateway.port)
  }

  /** At once, from within whatever is going on. */
  kill(): void {
    this.#gateway?.kill('SIGKILL')
    this.relay.away()
  }

  async restart(): Promise<void> {
    await this.#gateway?.exited
    await this.start()
  }

  async close(): Promise<void> {
    this.relay.close()
    this.#gateway?.kill('SIGKILL')
    await this.#gateway?.exited
    rmSync(this.#data, { recursive: true, force: true })
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => String(n))

let names = 0
const fresh = (what: string): string => `${what}-${++names}`

const open = (agent: Agent, { version }: Client, client: string, id: string, begin: boolean): Promise<unknown> => {
  agent.tell({ do: 'open', client, id, version, fresh: begin })
  return agent.next('open', client)
}
const subscribe = (agent: Agent, client: string, topic: string, qos: number): Promise<unknown> => {
  agent.tell({ do: 'subscribe', client, topic, qos })
  return agent.next('subscribed', client)
}
const close = (agent: Agent, client: string): Promise<unknown> => {
  agent.tell({ do: 'close', client })
  return agent.next('closed', client)
}

const allQos = async (agent: Agent, client: Client): Promise<void> => {
  const topic = fresh('qos')
  await open(agent, client, 'both', fresh('both'), true)
  for (const qos of [0, 1, 2]) {
    await subscribe(agent, 'both', `${topic}/${qos}`, qos)
    agent.tell({ do: 'publish', client: 'both', topic: `${topic}/${qos}`, qos, from: 0, to: 10 })
  }
  await agent.until('30 messages', () => agent.bodies('both').length >= 30)
  for (const qos of [0, 1, 2]) {
    const seen = agent.messages('both').filter((one) => one.topic === `${topic}/${qos}`)
    assert.deepEqual(
      seen.map(({ body }) => body),
      upTo(10),
    )
    assert.deepEqual([...new Set(seen.map((one) => one.qos))], [qos])
  }
  await close(agent, 'both')
}

/** A kept session with messages in its queue. */
const leaveSession = async (agent: Agent, client: Client, topic: string): Promise<void> => {
  await open(agent, client, 'sleeper', `sleeper-${topic}`, false)
  await subscribe(agent, 'sleeper', topic, 1)
  await close(agent, 'sleeper')
  await open(agent, client, 'watcher', `watcher-${topic}`, true)
  await subscribe(agent, 'watcher', topic, 1)
  agent.tell({ do: 'publish', client: 'watcher', topic, qos: 1, from: 0, to: QUEUED })
  await agent.until('what it published', () => agent.bodies('watcher').length >= QUEUED)
}

const findSession = async (agent: Agent, client: Client, topic: string): Promise<void> => {
  const { present } = (await open(agent, client, 'sleeper', `sleeper-${topic}`, false)) as { present?: boolean }
  assert.equal(present, true, 'no session was found')
  await agent.until('its queue', () => agent.bodies('sleeper').length >= QUEUED)
  assert.deepEqual(agent.bodies('sleeper'), upTo(QUEUED))
  await agent.next('open', 'watcher') // it came back by itself
  for (const name of ['sleeper', 'watcher']) await close(agent, name)
}

/** When to kill: as this packet of a handshake passes, before or after it is passed on. */
const moments: readonly (Pick<Step, 'way' | 'stage'> & { readonly passed: boolean })[] = [
  { way: 'in', stage: 'pubrec', passed: false },
  { way: 'out', stage: 'pubrec', passed: false },
  { way: 'in', stage: 'pubrel', passed: true },
  { way: 'out', stage: 'pubrel', passed: true },
  { way: 'in', stage: 'publish', passed: true },
  { way: 'out', stage: 'publish', passed: true },
  { way: 'in', stage: 'pubrel', passed: false },
  { way: 'out', stage: 'pubrel', passed: false },
  { way: 'in', stage: 'pubrec', passed: true },
  { way: 'out', stage: 'pubrec', passed: true },
]

interface Player {
  readonly client: Client
  readonly agent: Agent
  readonly topic: string
  /** Kills that found a handshake of its open. */
  hits: number
}

/** The gateway dies in the middle of a handshake of this player's. @returns whose handshakes were open */
const killAmid = (bench: Bench, player: Player, moment: (typeof moments)[number]): Promise<readonly Step[]> => {
  const who = `${moment.way === 'in' ? 'pub' : 'sub'}-${player.topic}`
  return new Promise((resolve) => {
    bench.relay.onStep = ({ client, way, stage }) => {
      if (client !== who || way !== moment.way || stage !== moment.stage) return false
      bench.relay.onStep = () => false
      const opened = bench.relay.open()
      const kill = () => {
        bench.kill()
        resolve(opened)
      }
      if (!moment.passed) kill()
      else setImmediate(kill)
      return !moment.passed
    }
  })
}

const killsDuring = async (
  bench: Bench,
  players: readonly Player[],
  messages: number,
  kills: number,
): Promise<void> => {
  const part = Math.ceil(messages / (kills + 1))
  for (let round = 0; round <= kills; round++) {
    const range = { from: round * part, to: Math.min(messages, (round + 1) * part) }
    const dead = round < kills && killAmid(bench, players[round % players.length]!, moments[round % moments.length]!)
    for (const { agent, topic } of players) agent.tell({ do: 'publish', client: 'pub', topic, qos: 2, ...range })
    if (!dead) break
    const opened = await dead
    assert.ok(opened.length > 0, 'the kill found no handshake open')
    for (const player of players) if (opened.some(({ client }) => client.endsWith(`-${player.topic}`))) player.hits++
    await bench.restart()
    const done = players.map(({ agent }) =>
      agent.until(`the end of round ${round}`, () => new Set(agent.bodies('sub')).size >= range.to),
    )
    await Promise.all(done)
  }
}

const asText = (bodies: readonly string[], messages: number): string => {
  const counts = new Map<string, number>()
  for (const body of bodies) counts.set(body, (counts.get(body) ?? 0) + 1)
  const lost = upTo(messages).filter((body) => !counts.has(body))
  const twice = [...counts].filter(([, count]) => count > 1).map(([body]) => body)
  return `lost ${lost.slice(0, 10)}; twice ${twice.slice(0, 10)}`
}

const suite: Suite = async ({ profile }) => {
  const checks = new Checks()
  const bench = new Bench()
  const running: Agent[] = []
  const start = (client: Client): Agent => {
    const agent = new Agent(client, bench.relay.port)
    running.push(agent)
    return agent
  }
  try {
    await bench.relay.listen()
    await bench.start()
    const able: Client[] = []
    for (const client of clients) {
      if (await checks.check(`${client.name}: is ready`, () => client.prepare())) able.push(client)
    }
    const sleepers = able.map((client) => ({ client, agent: start(client), topic: fresh('sleep') }))
    for (const { client, agent } of sleepers) {
      await checks.check(`${client.name}: QoS 0, 1 and 2, both ways`, () => allQos(agent, client))
    }
    for (const { client, agent, topic } of sleepers) {
      await checks.check(`${client.name}: leaves a session behind`, () => leaveSession(agent, client, topic))
    }
    const shell = {
      topic: fresh('shell'),
      able: await prepareMosquitto().then(
        () => true,
        () => false,
      ),
    }
    if (shell.able)
      await checks.check('mosquitto_pub and _sub: leave sessions behind', () => leaveShell(bench, shell.topic))
    bench.kill()
    await checks.check('the gateway comes back after kill -9', () => bench.restart())
    for (const { client, agent, topic } of sleepers) {
      await checks.check(`${client.name}: finds its session after the kill, in order`, () =>
        findSession(agent, client, topic),
      )
    }
    if (shell.able)
      await checks.check('mosquitto_sub: finds its sessions after the kill, in order', () =>
        findShell(bench, shell.topic),
      )
    else checks.skip('mosquitto_pub and _sub', 'the Debian package mosquitto-clients is not to be had here')
    await Promise.all(running.splice(0).map((agent) => agent.end()))

    const { messages, kills } = sizes[profile]
    const players: Player[] = []
    for (const client of exactlyOnce.filter((one) => able.some(({ name }) => name === one.name))) {
      players.push({ client, agent: start(client), topic: fresh('once'), hits: 0 })
    }
    const went = await checks.check(`QoS 2 over ${kills} kills: all messages arrive`, async () => {
      for (const { client, agent, topic } of players) {
        await open(agent, client, 'sub', `sub-${topic}`, false)
        await subscribe(agent, 'sub', topic, 2)
        await open(agent, client, 'pub', `pub-${topic}`, false)
      }
      await killsDuring(bench, players, messages, kills)
      for (const { agent } of players) {
        await agent.until('all messages', () => new Set(agent.bodies('sub')).size >= messages)
      }
      // What comes twice comes now.
      await new Promise((resolve) => setTimeout(resolve, 2_000))
    })
    for (const { client, agent, hits } of players) {
      await checks.check(
        `${client.name}: none of ${messages} lost, none twice, ${hits} kills amid its handshakes`,
        () => {
          const bodies = agent.bodies('sub')
          assert.ok(bodies.length === messages && new Set(bodies).size === messages, asText(bodies, messages))
          assert.ok(!went || hits >= Math.floor(kills / players.length), 'too few kills hit an open handshake')
        },
      )
    }
  } finally {
    await Promise.all(running.map((agent) => agent.end()))
    await bench.close()
  }
  return checks.counts
}

const shells = [
  ['mqttv311', []],
  ['mqttv5', ['-x', '3600']],
] as const

const leaveShell = async ({ relay }: Bench, topic: string): Promise<void> => {
  for (const [version, more] of shells) {
    const common = ['-V', version, '-t', `${topic}/${version}`, '-q', '1']
    await mosquitto('sub', relay.port, ...common, ...more, '-c', '-i', `${topic}-${version}`, '-E')
    for (const n of upTo(5)) await mosquitto('pub', relay.port, ...common, '-m', n)
  }
}

const findShell = async ({ relay }: Bench, topic: string): Promise<void> => {
  for (const [version, more] of shells) {
    const common = ['-V', version, '-t', `${topic}/${version}`, '-q', '1']
    const said = await mosquitto('sub', relay.port, ...common, ...more, '-c', '-i', `${topic}-${version}`, '-C', '5')
    assert.deepEqual(said.trim().split('\n'), upTo(5))
  }
}

export default suite

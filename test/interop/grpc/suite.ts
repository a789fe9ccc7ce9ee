/**
 * Official RocketMQ 5 clients, unmodified, against a whole gateway. Each agent plays the same part and says what it saw,
 * a line of JSON a step:
 *   started · sent {id} · received {body, tag, keys, properties, id, attempt} · after {messages}: those that came after
 *   the first was acknowledged and its invisible time had passed · again {…as received}: not acknowledged, shortened
 *   invisible time · many {received}: bodies of 200 · pushed {received}: bodies of 20 by a push consumer · bye
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { startGateway } from '@sluice/gateway'
import { House } from '../../../protocols/grpc/test/harness.ts'
import { Checks, type Counts, type Profile } from '../../run/suites.ts'
import { clients, home, javaCommand, out, prepareJava, preparePython, python } from './clients.ts'
import { restarts } from './restart.ts'
import { STARTS, table } from './table.ts'

const here = path.join(import.meta.dirname, 'agents')
const certificates = path.join(import.meta.dirname, '../../tls/server')
const PATIENCE_MS = 300_000

interface Told {
  readonly body: string
  readonly tag?: string | null
  readonly keys: readonly string[]
  readonly properties: Readonly<Record<string, string>>
  readonly id: string
  readonly attempt: number
}
interface Said {
  readonly started?: object
  readonly sent?: { readonly id: string }
  readonly received?: Told
  readonly after?: { readonly messages: number }
  readonly again?: Told
  readonly many?: { readonly received: readonly string[] }
  readonly pushed?: { readonly received: readonly string[] }
  readonly bye?: object
}

interface Agent {
  readonly name: string
  /** Makes ready what the command needs. @throws when this machine cannot */
  prepare(): Promise<unknown>
  /** Program and arguments before the common ones, and those after. */
  readonly command: readonly string[]
  readonly last?: readonly string[]
  /** By the port that takes TLS too. */
  readonly tls?: true
}

const javaAgent = { prepare: prepareJava, command: javaCommand('lib', 'Agent') }

const agents: readonly Agent[] = [
  {
    name: 'rocketmq-client-nodejs 1.0.8',
    prepare: async () => undefined,
    command: [process.execPath, path.join(here, 'peace.ts')],
  },
  {
    name: 'rocketmq-python-client 5.1.2',
    prepare: preparePython,
    command: [path.join(python, 'bin/python'), path.join(here, 'peace.py')],
  },
  { name: 'rocketmq-client-java 5.2.0', ...javaAgent, last: ['false'] },
  { name: 'rocketmq-client-java 5.2.0 over TLS', ...javaAgent, last: ['true'], tls: true },
]

/**
 * What an agent said, by its steps. One whose client gives up before it has started is started again.
 * @throws with the end of its stderr when it fails or takes too long
 */
const play = async (agent: Agent, port: number, name: string, starts = STARTS): Promise<Said> => {
  const [program, ...before] = agent.command
  const common = [`127.0.0.1:${port}`, `${name}-topic`, `${name}-push-topic`, `${name}-group`, `${name}-push-group`]
  const child = spawn(program as string, [...before, ...common, ...(agent.last ?? [])], {
    env: { ...process.env, HOME: home, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  let errors = ''
  child.stdout.on('data', (chunk) => (text += chunk))
  child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-2_000)))
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  clearTimeout(timer)
  const steps = text.split('\n').filter((line) => line.startsWith('{'))
  const said = Object.fromEntries(
    steps.map((line) => {
      const { step, ...fields } = JSON.parse(line) as { step: string }
      return [step, fields]
    }),
  ) as Said
  if (code !== 0 && !said.started && starts > 1) {
    console.log(`     ${agent.name} did not start: ${errors.trim().split('\n').slice(0, 3).join(' | ')}`)
    return play(agent, port, `${name}-again`, starts - 1)
  }
  assert.equal(code, 0, `ended with ${code} after ${Object.keys(said).join(', ') || 'nothing'}: ${errors}`)
  return said
}

const checksOf = async (checks: Checks, agent: Agent, said: Said): Promise<void> => {
  const check = (name: string, look: () => void) => checks.check(`${agent.name}: ${name}`, look)
  await check('sends and receives tag, keys, properties and id', () => {
    const { body, tag, keys, properties, id, attempt } = said.received!
    assert.deepEqual(
      { body, tag, keys: [...keys].sort(), colour: properties.colour, attempt },
      {
        body: 'hello',
        tag: 'blue',
        keys: ['k1', 'k2'],
        colour: 'red',
        attempt: 1,
      },
    )
    assert.equal(id, said.sent!.id)
  })
  await check('what was acknowledged does not come after the invisible time', () =>
    assert.equal(said.after!.messages, 0),
  )
  await check('what was not acknowledged comes again, counted', () => {
    assert.equal(said.again!.body, 'again')
    assert.equal(said.again!.attempt, 2)
  })
  await check('200 messages, none lost, none twice', () => assert.deepEqual(sorted(said.many!), range('message', 200)))
  await check('20 messages by push, none lost, none twice', () =>
    assert.deepEqual(sorted(said.pushed!), range('push', 20)),
  )
  await check('starts and ends', () => assert.ok(said.started && said.bye))
}

const range = (word: string, count: number) => Array.from({ length: count }, (_, n) => `${word}-${n}`).sort()
const sorted = ({ received }: { readonly received: readonly string[] }) => [...received].sort()

/** A connection is told to go away so often; three in four at a time, so that calls race with it. */
const CHURN_MS = 250

/** Those that this machine can play; the others are told. */
const prepared = async <T extends { readonly name: string }>(
  checks: Checks,
  those: readonly T[],
  prepare: (one: T) => Promise<unknown>,
): Promise<readonly T[]> => {
  const ready = await Promise.all(
    those.map((one) =>
      prepare(one).then(
        () => true,
        (error: Error) => checks.skip(one.name, error.message.split('\n')[0] ?? ''),
      ),
    ),
  )
  return those.filter((_, at) => ready[at])
}

/**
 * The table of behaviours by client, and restarts under them; then the agents below side by side, each with topics and groups of its own: first in
 * peace, then with every connection drained again and again.
 */
export default async ({ profile }: { readonly profile: Profile }): Promise<Counts> => {
  const checks = new Checks()
  mkdirSync(home, { recursive: true })
  const played = await prepared(checks, clients, (client) => client.prepare(profile))
  await table(checks, played)
  // One after another they take two minutes: the one that starts fastest stands for them where time is short.
  await restarts(
    checks,
    played.filter(({ name }) => profile === 'full' || name.startsWith('Node')),
    profile,
  )
  const those = await prepared(checks, agents, (agent) => agent.prepare())
  await inPeace(checks, those)
  await drained(
    checks,
    those.filter(({ tls }) => !tls),
  )
  return checks.counts
}

const playAll = async (checks: Checks, those: readonly Agent[], portOf: (agent: Agent) => number): Promise<void> => {
  const plays = those.map((agent, at) => play(agent, portOf(agent), `agent-${at}`))
  for (const playing of plays) playing.catch(() => undefined)
  for (const [at, agent] of those.entries()) {
    let said: Said | undefined
    await checks.check(`${agent.name}: plays its part`, async () => {
      said = await plays[at]
    })
    if (said) await checksOf(checks, agent, said)
  }
}

const inPeace = async (checks: Checks, those: readonly Agent[]): Promise<void> => {
  const data = mkdtempSync(path.join(out, 'data-'))
  const gateway = await startGateway({
    data,
    listeners: [
      { port: 0 },
      { port: 0, tls: { cert: `${certificates}.crt`, key: `${certificates}.key`, mode: 'accept' } },
    ],
    protocols: ['grpc'],
  })
  try {
    await playAll(checks, those, ({ tls }) => gateway.ports.listeners[tls ? 1 : 0]!.port)
  } finally {
    await gateway.close()
    rmSync(data, { recursive: true, force: true })
  }
}

/** Over a broker in memory, in this process, where connections can be told to go away at will. */
const drained = async (checks: Checks, those: readonly Agent[]): Promise<void> => {
  const house = await House.open({ autoCreate: true, queues: 4 })
  let told = 0
  let turn = 0
  const churn = setInterval(() => {
    for (const connection of house.server.connections()) {
      if (connection.state !== 'serving' || turn++ % 4 === 0) continue
      connection.goAway('aged')
      told++
    }
  }, CHURN_MS)
  try {
    const renamed = those.map((agent) => ({ ...agent, name: `${agent.name} while its connections are drained` }))
    await playAll(checks, renamed, () => house.port)
    await checks.check(`${told} connections were told to go away`, () => assert.ok(told > 20))
  } finally {
    clearInterval(churn)
    await house.close()
  }
}

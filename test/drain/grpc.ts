/**
 * gRPC's farewell, and clients that go without one.
 * Told to leave: streams that race with the notice are served and covered by the last word; a client of grpc-js without
 * retries of its own sees no failed call over many drains. Gone without a word: what was on its way to it is there for the
 * next consumer at once, as if it had never been given out.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import net from 'node:net'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { asking, Caller, House, message, type Reply } from '../../protocols/grpc/test/harness.ts'
import { RawClient } from '../../protocols/grpc/test/raw.ts'
import { Checks, type Counts, type Profile } from '../run/suites.ts'

const OK = 20000
const RACING = 240
const BACK_WITHIN_MS = 500
/** Where times are not asserted; the end of the invisible time is 30 s away at least. */
const BACK_LOADED_MS = 10_000
const EMPTY_MS = 300
/** What a client does not read, beyond what grpc-js reads ahead. */
const MESSAGES = 32
const BODY = 64 * 1024

export default async ({ profile }: { readonly profile: Profile }): Promise<Counts> => {
  const checks = new Checks()
  await checks.check(`${RACING} streams that race with the notice are answered`, racing)
  const load = profile === 'full' ? { drains: 20, calls: 5_000 } : { drains: 5, calls: 1_000 }
  await checks.check(`no call of grpc-js without retries fails, ${load.calls} over ${load.drains} drains`, () =>
    withoutRetries(load),
  )
  await abandoned(checks, profile === 'full' ? BACK_WITHIN_MS : BACK_LOADED_MS)
  return checks.counts
}

const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}

const racing = async (): Promise<void> => {
  const house = await House.open({ topics: ['orders'] })
  const socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  const raw = new RawClient(socket)
  try {
    await raw.call('Heartbeat', { client_type: 'PRODUCER' })
    const asked: { readonly id: number; readonly answer: Promise<Reply[]> }[] = []
    // Read off the wire, before the PING that follows it is answered: the last word cannot have been said.
    raw.onFrame = ({ type }) => {
      if (type !== 'GOAWAY' || asked.length > 0) return
      for (let n = 0; n < RACING; n++) {
        if (n % 8 === 7) asked.push(raw.ask('ReceiveMessage', asking('orders', 'nobody')))
        else asked.push(raw.ask('SendMessage', { messages: [message('orders', `raced-${n}`)] }))
      }
    }
    for (const connection of house.server.connections()) connection.goAway('draining')
    await until(() => asked.length > 0)
    const answers = await Promise.all(asked.map(({ answer }) => answer))
    const refused = answers.filter(([first]) => first.status.code !== OK && first.status.code < 40_401)
    assert.equal(refused.length, 0, JSON.stringify(refused[0]))
    await until(() => raw.goaways.length === 2)
    const { last, code } = raw.goaways[1]!
    assert.equal(code, 0)
    assert.ok(last >= asked.at(-1)!.id, `${last} covers ${asked.at(-1)!.id}`)
    assert.equal(raw.frames.filter(({ type }) => type === 'RST_STREAM').length, 0)
    const stored = house.gateway.messages('orders').length
    assert.ok(stored >= 200, `${stored} stored`)
    await new Promise((resolve) => (socket.destroyed ? resolve(0) : socket.once('close', resolve)))
  } finally {
    socket.destroy()
    await house.close()
  }
}

const withoutRetries = async (wanted: { readonly drains: number; readonly calls: number }): Promise<void> => {
  const house = await House.open({ topics: ['orders'] })
  const caller = house.caller('one of many calls', { 'grpc.enable_retries': 0 })
  let sent = 0
  let drains = 0
  const failures: string[] = []
  const over = () => failures.length > 0 || (drains >= wanted.drains && sent >= wanted.calls)
  const worker = async () => {
    while (!over()) {
      const reply: Reply = await caller.send('orders', 'x').catch((error: Error) => {
        failures.push(error.message)
      })
      if (reply && reply.status.code !== OK) failures.push(JSON.stringify(reply.status))
      sent++
    }
  }
  const drainer = async () => {
    const each = wanted.calls / wanted.drains
    while (drains < wanted.drains && failures.length === 0) {
      await until(() => sent >= (drains + 0.5) * each || failures.length > 0)
      for (const connection of house.server.connections()) {
        if (connection.state !== 'serving') continue
        connection.goAway('draining')
        drains++
      }
    }
  }
  try {
    await Promise.all([drainer(), ...Array.from({ length: 8 }, worker)])
    assert.deepEqual(failures, [])
    assert.equal(house.gateway.messages('orders').length, sent)
    console.log(`     ${sent} calls, ${drains} drains, 0 failed`)
  } finally {
    await house.close()
  }
}

/** How a client goes: while it waits for messages, or while they are on their way to it. */
interface Abandoning {
  readonly name: string
  readonly waiting: boolean
  begin(port: number, topic: string, group: string): Promise<Gone>
}
interface Gone {
  /** Resolves when it has begun to get something. */
  readonly given: Promise<unknown>
  go(): void
}

const abandoned = async (checks: Checks, withinMs: number): Promise<void> => {
  const gateway = await startGateway({
    listeners: [{ port: 0 }],
    protocols: ['grpc'],
    backend: { embedded: { flush: 'async' } },
  })
  try {
    for (const [at, way] of ways.entries()) {
      await checks.check(`${way.name}: the next consumer has everything in ${withinMs} ms, uncounted`, () =>
        abandon(gateway, way, `abandoned-${at}`, withinMs),
      )
    }
  } finally {
    await gateway.close()
  }
}

const abandon = async ({ port }: RunningGateway, way: Abandoning, topic: string, withinMs: number): Promise<void> => {
  const caller = new Caller(port, 'next', {})
  const group = `${topic}-group`
  const publish = async () => {
    for (let n = 0; n < MESSAGES; n++) await caller.send(topic, Buffer.alloc(BODY, n))
  }
  try {
    await caller.send(topic, 'makes the topic')
    const [made] = await receive(caller, topic, group)
    await caller.call('AckMessage', { entries: [{ receipt_handle: made.system_properties.receipt_handle }] })
    if (!way.waiting) await publish()
    const client = await way.begin(port, topic, group)
    if (!way.waiting) await client.given
    client.go()
    // Its end has come by then: what is published now is not given to it any more.
    if (way.waiting) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      await publish()
    }
    const began = performance.now()
    const attempts: number[] = []
    while (attempts.length < MESSAGES && performance.now() - began < withinMs + 5_000) {
      for (const one of await receive(caller, topic, group)) attempts.push(one.system_properties.delivery_attempt)
    }
    const took = performance.now() - began
    assert.deepEqual(attempts, Array(MESSAGES).fill(1))
    assert.ok(took <= withinMs, `took ${Math.round(took)} ms`)
    const empty = performance.now()
    assert.equal((await receive(caller, topic, group, EMPTY_MS)).length, 0, 'something came twice')
    assert.ok(performance.now() - empty >= EMPTY_MS - 20, 'an empty receive did not wait')
  } finally {
    caller.close()
  }
}

const receive = async (caller: Caller, topic: string, group: string, ms = 2_000): Promise<Reply[]> => {
  const parts = await caller.receive(asking(topic, group, { long_polling_timeout: { nanos: ms * 1e6 - 1e6 } }))
  return parts.flatMap((part) => (part.message ? [part.message] : []))
}

const grpcJs = async (port: number, topic: string, group: string): Promise<Gone> => {
  const caller = new Caller(port, 'cancels', {})
  const stream = caller.stream('ReceiveMessage', asking(topic, group), 20_000)
  stream.on('error', () => undefined)
  const given = new Promise<void>((resolve) => {
    stream.once('readable', () => {
      stream.read(1)
      resolve()
    })
  })
  await new Promise((resolve) => setTimeout(resolve, 200))
  return {
    given,
    go() {
      stream.cancel()
      setTimeout(() => caller.close(), 500)
    },
  }
}

const raw = (how: 'reset' | 'closed') => async (port: number, topic: string, group: string) => {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  const client = new RawClient(socket, how)
  client.reads = false
  const given = new Promise<void>((resolve) => {
    client.onFrame = ({ type }) => type === 'DATA' && resolve()
  })
  const { id } = client.ask('ReceiveMessage', asking(topic, group, { long_polling_timeout: { seconds: 20 } }))
  await new Promise((resolve) => setTimeout(resolve, 200))
  return {
    given,
    go() {
      if (how === 'reset') client.reset(id)
      else socket.resetAndDestroy()
    },
  }
}

const killed = async (port: number, topic: string, group: string): Promise<Gone> => {
  const program = new URL('./grpc.child.ts', import.meta.url).pathname
  const child: ChildProcess = spawn(
    process.execPath,
    ['--conditions=@sluice/source', program, String(port), topic, group],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } },
  )
  let said = ''
  child.stdout!.on('data', (chunk) => (said += chunk))
  await until(() => said.includes('asked'))
  return { given: until(() => said.includes('got')), go: () => void child.kill('SIGKILL') }
}

const ways: readonly Abandoning[] = (
  [
    ['a receive that is cancelled', grpcJs],
    ['a stream that is reset', raw('reset')],
    ['a connection that is reset', raw('closed')],
    ['a client that is killed', killed],
  ] as const
).flatMap(([name, begin]) => [
  { name: `${name} while it waits`, waiting: true, begin },
  { name: `${name} while it gets messages`, waiting: false, begin },
])

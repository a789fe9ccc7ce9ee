import assert from 'node:assert/strict'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Wire } from '@sluice/testkit'
import { LineClient } from '../../plugin/driver.ts'
import { Checks, type Counts } from '../../run/suites.ts'
import { Installed, type PackedGateway } from './packed.ts'

const root = new URL('../../..', import.meta.url).pathname

const config = (data: string): string => `
data: ${data}
log: { format: json }
admin: { port: 0 }
protocols: [remoting, grpc, http, mqtt, amqp, sluice-protocol-lines, sluice-protocol-unruly]
listeners: [{ port: 0 }]
drain: { leavingMs: 100, announceMs: 200, settleMs: 2000 }
`

/** Runs the contract suite against the packed plugin and prints what failed as JSON. */
const contract = `
import { contractChecks, runChecks } from '@sluice/testkit'
import lines from 'sluice-protocol-lines'
import { lineDriver } from './driver.ts'
const { passed, failed, failures } = await runChecks(contractChecks(lineDriver(lines)))
console.log(JSON.stringify({ passed, failed, failures: failures.map(({ name, error }) => name + ': ' + error) }))
process.exit()
`

/** What a program in TypeScript sees of the packages. */
const consumer = `
import type { Protocol } from '@sluice/core'
import { startGateway } from '@sluice/gateway'
import { contractChecks, type Driver, fakeGateway } from '@sluice/testkit'
import lines from 'sluice-protocol-lines'
export const protocol: Protocol = lines()
export const gateway = await startGateway({ protocols: ['http', protocol] })
export const port: number = gateway.port
export const names = (driver: Driver): string[] => contractChecks(driver).map(({ name }) => name)
export const parked: number = fakeGateway().parked
// @ts-expect-error: types of the packed packages are strict
export const wrong: string = gateway.port
`

/** A check that waits for what never comes fails. */
class BoundedChecks extends Checks {
  override check(name: string, run: () => Promise<unknown>): Promise<boolean> {
    return super.check(name, () => {
      const late = Promise.withResolvers<never>()
      const timer = setTimeout(() => late.reject(new Error('took over two minutes')), 120_000)
      return Promise.race([run(), late.promise]).finally(() => clearTimeout(timer))
    })
  }
}

/** A protocol package as its author would publish it, installed beside the packed gateway in an empty folder. */
export default async function suite(): Promise<Counts> {
  const checks = new BoundedChecks()
  let installed: Installed | undefined
  await checks.check('the packages build, pack and install outside of the repository', async () => {
    installed = await Installed.make(['lines', 'unruly'])
  })
  if (!installed) return checks.counts
  const host = installed
  try {
    await checks.check('a program compiles against the packed types', () => typesOf(host))
    await contractOf(host, checks)
    await running(host, checks)
    await crash(host, checks, 'installed')
    await host.link('sluice-protocol-unruly')
    await crash(host, checks, 'linked')
  } finally {
    await host.remove()
  }
  return checks.counts
}

const typesOf = async (host: Installed): Promise<void> => {
  await host.write('consumer.ts', consumer)
  const options = {
    compilerOptions: {
      target: 'esnext',
      module: 'nodenext',
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
    },
    files: ['consumer.ts'],
  }
  await host.write('tsconfig.json', JSON.stringify(options))
  await host.run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.json'])
}

const contractOf = async (host: Installed, checks: BoundedChecks): Promise<void> => {
  await checks.check('the packed plugin keeps the contract with the packed kit', async () => {
    await copyFile(join(root, 'test/plugin/driver.ts'), join(host.folder, 'driver.ts'))
    await host.write('contract.mjs', contract)
    const { passed, failed, failures } = JSON.parse(await host.run(process.execPath, ['contract.mjs'])) as {
      passed: number
      failed: number
      failures: string[]
    }
    assert.equal(failed, 0, failures.join('\n'))
    assert.ok(passed >= 20, `only ${passed} checks`)
  })
}

const running = async (host: Installed, checks: BoundedChecks): Promise<void> => {
  const gateway = await host.start(config('data'))
  const wires: Wire[] = []
  const connect = async () => {
    const wire = await gateway.connect()
    wires.push(wire)
    return wire
  }
  const unruly = async (word: string) => {
    const wire = await connect()
    wire.write(Buffer.from(`UNRULY\n${word}\n`))
    return wire
  }
  try {
    await checks.check('lines publish and subscribe through the running gateway', () => publishAndSubscribe(connect))
    await checks.check('what HTTP publishes, lines receive', () => fromHttp(gateway, connect))
    for (const [word, error] of [
      ['THROW', 'thrown in receive'],
      ['REJECT', 'rejected by receive'],
      ['CLOSED', 'thrown in closed'],
    ] as const) {
      await checks.check(`${error}: one connection is lost, the log names the plugin`, async () => {
        const wire = await unruly(word)
        if (word === 'CLOSED') {
          await wire.take(7)
          wire.socket.end()
        }
        await wire.closed
        await failedWith(gateway, error)
        await publishAndSubscribe(connect)
      })
    }
    await checks.check('thrown in goAway: one connection is lost, the drain goes on, the exit is clean', async () => {
      const wire = await unruly('GOAWAY')
      await wire.take(7)
      gateway.kill('SIGTERM')
      await wire.closed
      await failedWith(gateway, 'thrown in goAway')
      assert.equal(await gateway.exited, 0)
    })
  } finally {
    for (const wire of wires) wire.destroy()
    gateway.kill('SIGKILL')
    await gateway.exited
  }
}

const crash = async (host: Installed, checks: BoundedChecks, how: string): Promise<void> => {
  const gateway = await host.start(config(`crash-${how}`))
  try {
    await checks.check(`thrown by a timer: the process ends with one line that names the ${how} plugin`, async () => {
      const wire = await gateway.connect()
      wire.write(Buffer.from('UNRULY\nCRASH\n'))
      assert.equal(await gateway.exited, 1)
      const crashes = gateway.lines.filter(({ event }) => /crash/.test(String(event)))
      assert.deepEqual(
        crashes.map(({ event, plugin }) => ({ event, plugin })),
        [{ event: 'plugin.crashed', plugin: 'unruly' }],
      )
      assert.match(String(crashes[0]!.error), /thrown by a timer/)
    })
  } finally {
    gateway.kill('SIGKILL')
    await gateway.exited
  }
}

/** Waits for the line; the error is its first line. */
const failedWith = async (gateway: PackedGateway, error: string): Promise<void> => {
  await gateway.line('plugin.failed', { plugin: 'unruly' })
  const seen = () => gateway.lines.filter(({ event, plugin }) => event === 'plugin.failed' && plugin === 'unruly')
  for (const end = Date.now() + 5_000; !seen().some((line) => String(line.error).includes(error)); ) {
    assert.ok(Date.now() < end, `no plugin.failed with '${error}': ${JSON.stringify(seen())}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

let topics = 0

const publishAndSubscribe = async (connect: () => Promise<Wire>): Promise<void> => {
  const topic = `lines${++topics}`
  const consumer = new LineClient(await connect())
  const producer = new LineClient(await connect())
  await producer.publish(topic, Buffer.from('first'))
  await consumer.subscribe(topic, 'workers', 5)
  await producer.publish(topic, Buffer.from('second'))
  const bodies: string[] = []
  for (let n = 0; n < 2; n++) {
    const incoming = await consumer.next()
    bodies.push(incoming.body.toString())
    await consumer.settle(incoming, 'accept')
  }
  assert.deepEqual(bodies.sort(), ['first', 'second'])
  consumer.close()
  producer.close()
}

const fromHttp = async (gateway: PackedGateway, connect: () => Promise<Wire>): Promise<void> => {
  const response = await fetch(`http://127.0.0.1:${gateway.port}/v1/topics/web/messages`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
    body: 'from the web',
  })
  assert.ok(response.ok, `${response.status} ${await response.text()}`)
  const consumer = new LineClient(await connect())
  await consumer.subscribe('web', 'workers', 1)
  const incoming = await consumer.next()
  assert.equal(incoming.body.toString(), 'from the web')
  await consumer.settle(incoming, 'accept')
  consumer.close()
}

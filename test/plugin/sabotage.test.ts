import type { Gateway, Protocol, Pump } from '@sluice/core'
import { contractChecks, type Driver, runChecks } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { lineDriver } from './driver.ts'
import lines from './lines/src/index.ts'

const driver = lineDriver(lines)

/** The lines protocol over a gateway that behaves otherwise: as if the plugin had that bug. */
const withBug = (change: (gateway: Gateway) => Partial<Gateway>): Driver => ({
  ...driver,
  protocol(): Protocol {
    const protocol = lines()
    return {
      ...protocol,
      start: (gateway) =>
        protocol.start(new Proxy(gateway, { get: (real, key) => (change(real) as never)[key] ?? real[key as never] })),
    }
  },
})

const pumpWith = (change: (pump: Pump) => Partial<Pump>) =>
  withBug((gateway) => ({
    pump(source, options) {
      const pump = gateway.pump(source, options)
      return new Proxy(pump, {
        get: (real, key) => {
          const value = (change(real) as never)[key] ?? real[key as never]
          return typeof value === 'function' ? (value as () => void).bind(real) : value
        },
      })
    },
  }))

const bugs: readonly { bug: string; driver: Driver; found: RegExp }[] = [
  {
    bug: 'acknowledges before the broker has it',
    driver: withBug((gateway) => ({
      handle: ((command: never, context: never) => {
        const reply = gateway.handle(command, context)
        reply.catch(() => undefined)
        return (command as { kind: string }).kind === 'publish' ? Promise.resolve({ stored: [{}] }) : reply
      }) as Gateway['handle'],
    })),
    found: /acknowledged after the broker/,
  },
  {
    bug: 'asks for more than the credit',
    driver: pumpWith((pump) => ({ credit: (messages) => pump.credit(messages + 1) })),
    found: /credit is never exceeded/,
  },
  {
    bug: 'never lowers its credit for a slow reader',
    driver: pumpWith((pump) => ({ credit: (messages) => pump.credit(messages === 0 ? 1000 : messages) })),
    found: /reader that does not read/,
  },
  {
    bug: 'forgets to stop its pump',
    driver: pumpWith(() => ({ stop: async () => undefined })),
    found: /lost client held/,
  },
  {
    bug: 'forgets to release its session',
    driver: withBug(() => ({ release: () => undefined })),
    found: /leaves no session/,
  },
  {
    bug: 'drops a settlement',
    driver: pumpWith(() => ({ settle: (_, __, done) => done?.() })),
    found: /refused comes again/,
  },
  {
    bug: 'has no word of go away',
    driver: { ...driver, protocol: () => muted() },
    found: /says so to its client/,
  },
  {
    bug: 'declares missing what it has',
    driver: { ...driver, declared: { retry: 'just so' } },
    found: /not here: just so/,
  },
]

/** Lines without BYE. */
const muted = (): Protocol => {
  const protocol = lines()
  return {
    ...protocol,
    async start(gateway) {
      const server = await protocol.start(gateway)
      return {
        accept(socket, peer) {
          const write = socket.write.bind(socket) as (chunk: Buffer, done: () => void) => boolean
          const quiet = (chunk: Buffer, done: () => void) =>
            write(chunk.toString() === 'BYE\n' ? Buffer.alloc(0) : chunk, done)
          server.accept(Object.assign(socket, { write: quiet }), peer)
        },
        connections: () => server.connections(),
        close: () => server.close(),
      }
    },
  }
}

describe('the contract suite finds a plugin that', () => {
  for (const { bug, driver: broken, found } of bugs) {
    it(bug, async () => {
      const checks = contractChecks(broken, { patienceMs: 300 }).filter(({ name }) => found.test(name))
      const { failed } = await runChecks(checks)
      expect([checks.length, failed]).toEqual([1, 1])
    })
  }
})

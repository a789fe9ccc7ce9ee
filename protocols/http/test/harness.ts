import { type Clock, listen, type Peer, type Running, systemClock, Wheel } from '@sluice/core'
import {
  connect,
  type FakeClock,
  type FakeGateway,
  type FakeGatewayOptions,
  fakeGateway,
  serverOf,
} from '@sluice/testkit'
import http, { type HttpOptions } from '../src/index.ts'
import { HttpClient } from './client.ts'

/** A gateway with a fake clock, clients in memory. */
export const bench = (options: FakeGatewayOptions<FakeClock> = {}) => {
  const gateway = fakeGateway({ topics: ['orders'], ...options })
  const protocol = http()
  return {
    gateway,
    client: async (peer?: Peer) => new HttpClient(await connect(protocol, gateway, peer)),
    connections: async () => [...(await serverOf(protocol, gateway)).connections()],
    close: async () => {
      await (await serverOf(protocol, gateway)).close()
      gateway.close()
    },
  }
}

export interface Served {
  readonly gateway: FakeGateway<Clock>
  readonly port: number
  readonly base: string
  readonly server: Awaited<ReturnType<typeof serverOf>>
  close(): Promise<void>
}

/** Makes the port a shared one: first bytes decide. */
const nobody: Running = {
  protocol: { api: 1, name: 'nobody', detect: () => false, start: () => nobody.server },
  server: { accept: () => undefined, connections: () => [], close: async () => undefined },
}

interface ServeOptions {
  readonly shared?: boolean
  /** PEM. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer }
}

/** A gateway on a port of loopback, in real time. */
export const serve = async (
  options: FakeGatewayOptions<Clock> = {},
  { shared = false, tls, ...httpOptions }: HttpOptions & ServeOptions = {},
): Promise<Served> => {
  const gateway = fakeGateway<Clock>({ topics: ['orders'], clock: systemClock, ...options })
  const protocol = http(httpOptions)
  const server = await serverOf(protocol, gateway)
  const wheel = new Wheel(systemClock)
  const { limits, log } = gateway
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    protocols: shared ? [{ protocol, server }, nobody] : [{ protocol, server }],
    proxyProtocol: 'off',
    ...(tls && { tls: { context: tls, clientAuth: false, mode: 'accept' } }),
    limits,
    wheel,
    clock: systemClock,
    log,
  })
  return {
    gateway,
    server,
    port: listener.port,
    base: `http://127.0.0.1:${listener.port}`,
    async close() {
      await server.close()
      await listener.close()
      wheel.close()
      gateway.close()
    },
  }
}

/** Turns of the event loop until it is so. @throws after five seconds */
export const eventually = async (what: string, so: () => boolean | Promise<boolean>): Promise<void> => {
  const end = Date.now() + 5_000
  while (!(await so())) {
    if (Date.now() > end) throw new Error(`did not happen: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

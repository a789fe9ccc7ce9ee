import { EventEmitter, once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { turns } from '@sluice/testkit'
import {
  defaultLimits,
  type Listener,
  type ListenOptions,
  listen,
  type Peer,
  type Protocol,
  type Running,
  systemClock,
  Wheel,
} from '../src/index.ts'
import { authority, server as serverPair } from './certificates.ts'
import type { Logged } from './lines.ts'

/** Ours, not ours, or too few to say: a protocol that begins with this text. */
export const startsWith =
  (text: string | Buffer) =>
  (head: Buffer): boolean | undefined => {
    const own = Buffer.from(text)
    const common = Math.min(own.length, head.length)
    if (!own.subarray(0, common).equals(head.subarray(0, common))) return false
    return head.length >= own.length ? true : undefined
  }

export interface Accepted {
  readonly by: string
  readonly peer: Peer
  readonly socket: Duplex
}

/** Protocols that answer `<name>:` and then echo; they end when their client does. */
export const echo = (name: string, detect: Protocol['detect'], accepted: (one: Accepted) => void): Running => ({
  protocol: { api: 1, name, ...(detect && { detect }), start: () => Promise.reject(new Error('not used')) },
  server: {
    accept(socket, peer) {
      socket.on('error', () => socket.destroy())
      accepted({ by: name, peer, socket })
      socket.write(`${name}:`)
      socket.pipe(socket)
    },
    connections: () => [],
    close: async () => {},
  },
})

export interface Port {
  readonly listener: Listener
  readonly logs: Logged[]
  readonly accepted: Accepted[]
  /** Emits 'accepted' and 'log'. */
  readonly heard: EventEmitter
  readonly wheel: Wheel
  close(): Promise<void>
}

export const tlsOptions = (mode: 'require' | 'accept', clientAuth = false): NonNullable<ListenOptions['tls']> => ({
  context: { ...serverPair, ca: authority },
  clientAuth,
  mode,
})

/** `protocols`: names and what tells them; `handshakeMs` 400 unless given. */
export const openPort = async (
  protocols: Readonly<Record<string, Protocol['detect']>>,
  options: Partial<Omit<ListenOptions, 'protocols' | 'limits'>> & { limits?: Partial<ListenOptions['limits']> } = {},
): Promise<Port> => {
  const logs: Logged[] = []
  const accepted: Accepted[] = []
  const heard = new EventEmitter()
  const log =
    (level: string) =>
    (event: string, fields: object = {}) => {
      logs.push({ level, event, fields: fields as Record<string, unknown> })
      heard.emit('log')
    }
  const wheel = new Wheel(systemClock, 20)
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    proxyProtocol: 'off',
    wheel,
    clock: systemClock,
    log: { info: log('info'), warn: log('warn'), error: log('error') },
    ...options,
    protocols: Object.entries(protocols).map(([name, detect]) =>
      echo(name, detect, (one) => {
        accepted.push(one)
        heard.emit('accepted')
      }),
    ),
    limits: { ...defaultLimits, handshakeMs: 400, ...options.limits },
  })
  return {
    listener,
    logs,
    accepted,
    heard,
    wheel,
    async close() {
      await listener.close()
      for (const { socket } of accepted) socket.destroy()
      wheel.close()
    },
  }
}

/** Writes the parts as segments of their own, half-closes, and gives everything that came back. */
export const exchange = async (
  socket: net.Socket,
  parts: readonly (Buffer | string)[],
  end = true,
): Promise<string> => {
  let all = ''
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    all += chunk.toString('latin1')
  })
  for (const part of parts) {
    socket.write(part)
    // Some turns of the loop, so that the other side has read this part alone.
    if (parts.length > 1) await turns(4)
  }
  if (end) socket.end()
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  return all
}

export const dial = async (port: number): Promise<net.Socket> => {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: false })
  await once(socket, 'connect')
  return socket
}

export const dialTls = (port: number, options: tls.ConnectionOptions = {}): tls.TLSSocket =>
  tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: authority, ...options })

import net from 'node:net'
import type { Target } from './client.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

const ipv4 = (address: string): Buffer =>
  Buffer.from(
    address
      .replace(/^::ffff:/, '')
      .split('.')
      .map(Number),
  )

/** PROXY protocol v2, as a load balancer says it: who connected, and to which of its addresses. */
const header = (client: net.Socket): Buffer => {
  const rest = Buffer.alloc(4)
  rest.writeUInt8(0x21, 0) // version 2, PROXY
  rest.writeUInt8(0x11, 1) // TCP over IPv4
  rest.writeUInt16BE(12, 2)
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(client.remotePort!, 0)
  ports.writeUInt16BE(client.localPort!, 2)
  return Buffer.concat([SIGNATURE, rest, ipv4(client.remoteAddress!), ipv4(client.localAddress!), ports])
}

/** A load balancer in small: what connects to it is passed on behind a PROXY header. */
export const startRelay = async (to: Target): Promise<{ readonly target: Target; close(): Promise<void> }> => {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    const upstream = net.connect(to.port, to.host)
    upstream.write(header(client))
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, to.host, resolve))
  return {
    target: { ...to, port: (server.address() as net.AddressInfo).port },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

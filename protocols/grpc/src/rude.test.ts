import net from 'node:net'
import { describe, expect, it } from 'vitest'
import { asking, House, message } from '../test/harness.ts'
import { frame, RawClient } from '../test/raw.ts'

const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('the process lives on', () => {
  it('when peers break the protocol, leave, or half-close while answers wait for them', async () => {
    const house = await House.open({ topics: ['orders'], limits: { handshakeMs: 500 } })
    const caller = house.caller()
    for (let n = 0; n < 8; n++) await caller.send('orders', Buffer.alloc(512 * 1024, n))
    const sockets: net.Socket[] = []
    const rude = async (end: (socket: net.Socket) => void) => {
      const socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
      sockets.push(socket)
      const raw = new RawClient(socket, `rude-${sockets.length}`)
      const window = Buffer.from('7fff0000', 'hex')
      raw.write(
        Buffer.concat([frame('SETTINGS', 0, 0, Buffer.from('00047fffffff', 'hex')), frame('WINDOW', 0, 0, window)]),
      )
      await raw.call('Heartbeat', { client_type: 'PRODUCER' })
      socket.pause()
      for (let n = 0; n < 4; n++)
        void raw.ask('ReceiveMessage', asking('orders', `g-${sockets.length}-${n}`)).answer.catch(() => undefined)
      void raw.ask('SendMessage', { messages: [message('orders', 'x')] }).answer.catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 30))
      end(socket)
    }
    const ends: ((socket: net.Socket) => void)[] = [
      (socket) => void socket.write(Buffer.alloc(100, 0xff)),
      (socket) => void socket.end(),
      (socket) => void socket.destroy(),
      (socket) => void socket.resetAndDestroy(),
      (socket) => void socket.write(frame('GOAWAY', 0, 0, Buffer.alloc(8))),
      () => [...house.server.connections()].at(-1)?.goAway('draining'),
      () => [...house.server.connections()].at(-1)?.end(true),
    ]
    for (const end of [...ends, ...ends]) await rude(end)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect((await caller.send('orders', 'still here')).status.code).toBe(20000)
    for (const socket of sockets) socket.destroy()
    await until(() => [...house.server.connections()].length === 1)
    await house.close()
  }, 20_000)
})

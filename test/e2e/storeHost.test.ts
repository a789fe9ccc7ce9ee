import net from 'node:net'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { Wire } from '@sluice/testkit'
import { afterEach, expect, it } from 'vitest'
import { RemotingClient } from '../../protocols/remoting/test/client.ts'

let gateway: RunningGateway
afterEach(() => gateway?.close())

/** The store host of a record: 4 bytes of IPv4, 4 of port, after a born host of IPv4. Source: MessageDecoder.java */
const STORE_HOST = 64

it.each([
  [{}, '7f000001'],
  [{ advertise: '192.0.2.4:80' }, 'c0000204'],
])('a message has one id for its producer and for its consumers, also on any free port: %j', async (more, address) => {
  gateway = await startGateway({ protocols: ['remoting'], backend: { embedded: { queues: 1 } }, ...more })
  const port = 'advertise' in more ? 80 : gateway.port
  const client = new RemotingClient(new Wire(net.connect(gateway.port, '127.0.0.1')))
  const { ext } = await client.send('T', 'x')
  const { body } = await client.pull('T', 'g')
  client.wire.socket.destroy()
  const host = body!.subarray(STORE_HOST, STORE_HOST + 8).toString('hex')
  expect(host).toBe(address + port.toString(16).padStart(8, '0'))
  expect(ext!.msgId!.slice(0, 16).toLowerCase()).toBe(host)
})

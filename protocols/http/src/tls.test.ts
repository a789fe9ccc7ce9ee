import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { eventually, type Served, serve } from '../test/harness.ts'

const pem = (name: string) => readFileSync(new URL(`../../../test/tls/${name}`, import.meta.url))
let served: Served
beforeAll(async () => {
  served = await serve({}, { shared: true, tls: { cert: pem('server.crt'), key: pem('server.key') } })
})
afterAll(() => served.close())

const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false })
const post = async (path: string, body: Buffer): Promise<{ status: number | undefined; text: string }> => {
  const request = https.request({ host: '127.0.0.1', port: served.port, path, method: 'POST', agent })
  request.end(body)
  const [answer] = await once(request, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk)
  return { status: answer.statusCode, text: Buffer.concat(chunks).toString() }
}

it('large bodies both ways on one connection', async () => {
  const body = Buffer.alloc(3 * 1024 * 1024, 'x')
  for (let n = 0; n < 3; n++) {
    expect((await post('/v1/topics/orders/messages', body)).status).toBe(201)
    const { text } = await post('/v1/topics/orders/groups/g/messages:receive', Buffer.from('{"waitMs":5000}'))
    expect(JSON.parse(text)).toMatchObject({ messages: [{ body: body.toString() }] })
  }
  expect([...served.server.connections()]).toHaveLength(1)
  agent.destroy()
})

it('a WebSocket, as its peer dialled it', async () => {
  const client = new WebSocket(`wss://127.0.0.1:${served.port}/`, 'mqtt', { rejectUnauthorized: false })
  await once(client, 'open')
  const [adopted] = served.gateway.adopted
  expect(adopted?.peer).toMatchObject({ secure: true })
  client.send(Buffer.from('in'))
  await eventually('it came', () => adopted!.socket.read()?.toString() === 'in')
  adopted!.socket.end('out')
  expect(String((await once(client, 'message'))[0])).toBe('out')
  await once(client, 'close')
})

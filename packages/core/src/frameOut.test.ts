import net from 'node:net'
import { turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { lines, numbers, peer, rest, type Script, stage, taken } from '../test/lines.ts'
import { Fault } from './model.ts'

describe('send', () => {
  const written = (client: { on(event: 'data', run: (chunk: Buffer) => void): unknown }) => {
    const chunks: Buffer[] = []
    client.on('data', (chunk) => void chunks.push(chunk))
    return chunks
  }

  it('makes one write of all frames of a tick', async () => {
    const { connect } = await stage({
      receive: () => undefined,
      converse: (link) => (send = (text) => link.send(text)),
    })
    const chunks = written(connect())
    for (let index = 0; index < 100; index++) send(`${index}`)
    await turns()
    expect(chunks.map(String)).toEqual([numbers(0, 100)])
  })
  let send: (frame: string) => boolean

  it('may be called before the first frame came: some servers speak first', async () => {
    const { connect, logs } = await stage({ converse: (link) => void link.send('hello') })
    expect(await taken(connect())).toBe('hello\n')
    expect(logs).toEqual([])
  })

  it('passes on what is above 64 KiB without copying it', async () => {
    const part = Buffer.alloc(50_000, 'x')
    const { connect } = await stage({
      converse: (link) => (send = (text) => link.send(text)),
      spec: { codec: (limits) => ({ ...lines(limits), encode: () => [part, part] }) },
    })
    const chunks = written(connect())
    send('')
    await turns()
    expect(chunks.map(({ length }) => length)).toEqual([50_000, 50_000])
    expect(chunks[0]!.buffer).toBe(part.buffer)
  })

  it('answers false above the bound, reads no more, loses nothing, and reads on once the peer took it', async () => {
    const got: boolean[] = []
    let received = 0
    const { connect, talks, connection } = await stage(
      {
        receive(frame) {
          received++
          got.push(talks[0]!.link.send(frame.repeat(30_000)))
        },
      },
      { outboundBytes: 100_000 },
    )
    const client = connect()
    for (let index = 0; index < 10; index++) {
      client.write(`${index}\n`)
      await turns()
    }
    // 64 KiB are in the client's hands, 100,000 bytes wait here.
    expect(got).toEqual([true, true, true, true, true, false])
    expect(received).toBe(6)
    expect(connection().busy).toBe(1)
    let writable = false
    void talks[0]!.link.writable().then(() => (writable = true))
    await turns()
    expect(writable).toBe(false)
    const all = rest(client)
    client.end()
    const answers = await all
    expect(answers).toBe(Array.from({ length: 10 }, (_, index) => `${String(index).repeat(30_000)}\n`).join(''))
    expect(writable).toBe(true)
  })

  it('writable resolves for what waited then, even if more is sent all the time', async () => {
    const { connect, connection, talks } = await stage({}, { outboundBytes: 1_000 })
    const client = connect()
    const { link } = talks[0]!
    await link.writable() // nothing waits
    const part = 'a'.repeat(64 * 1024)
    link.send(part) // into the client's hands
    await turns()
    link.send(part)
    let writable = false
    void link.writable().then(() => (writable = true))
    await turns()
    await turns()
    expect(writable).toBe(false)
    for (let round = 0; round < 20 && !writable; round++) {
      link.send(part)
      link.send(part)
      await turns()
      client.read()
      await turns()
      expect(connection().busy).toBe(1)
    }
    expect(writable).toBe(true)
  })

  it('writable resolves when the peer is gone, and send answers false', async () => {
    const { connect, talks } = await stage({}, { outboundBytes: 1 })
    const client = connect()
    const { link } = talks[0]!
    expect(link.send('x'.repeat(100_000))).toBe(false)
    await turns()
    const writable = link.writable()
    client.destroy(new Error('reset'))
    await writable
    await turns()
    expect(link.send('abc')).toBe(false)
    await link.writable()
  })
})

describe('on a real socket', () => {
  const servers: net.Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })
  const listening = async (script: Script) => {
    const it = await stage(script)
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => it.server.accept(socket, peer))
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { ...it, port: (server.address() as net.AddressInfo).port }
  }

  it('a client with megabytes still on their way gets the last word, and no reset before it', async () => {
    const { port } = await listening({
      receive: (frame) => {
        if (frame === 'bad') throw new Fault('forbidden', 'no')
      },
    })
    for (let round = 0; round < 20; round++) {
      const client = net.connect(port, '127.0.0.1')
      let failed: Error | undefined
      client.on('error', (error) => (failed = error))
      const all = rest(client)
      client.write('bad\n')
      client.write(Buffer.alloc(4_000_000, 'x\n'))
      expect([await all, failed]).toEqual(['refused forbidden\n', undefined])
      client.destroy()
    }
  })

  it('a reset by the client is an end like another', async () => {
    const it = await listening({})
    const client = net.connect(it.port, '127.0.0.1')
    client.write('a\n')
    await new Promise((resolve) => client.once('data', resolve))
    client.resetAndDestroy()
    await new Promise<void>((resolve) => {
      const look = () => ([...it.server.connections()].length === 0 ? resolve() : setImmediate(look))
      look()
    })
    expect(it.logs).toEqual([])
  })

  it('a large answer arrives whole although the client half-closed before it', async () => {
    const { port } = await listening({})
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const body = 'y'.repeat(4_000_000)
    const all = rest(client)
    client.end(`${body}\n`)
    expect((await all).length).toBe(body.length + 1)
  })
})

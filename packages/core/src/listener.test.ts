import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { authority, client, stranger } from '../test/certificates.ts'
import { dial, dialTls, exchange, openPort, type Port, startsWith, tlsOptions } from '../test/port.ts'

const ports: Port[] = []
const open = async (...options: Parameters<typeof openPort>) => {
  const port = await openPort(...options)
  ports.push(port)
  return port
}
afterEach(async () => {
  for (const port of ports.splice(0)) await port.close()
})

const five = {
  remoting: startsWith(Buffer.from([0, 0, 1])),
  h2: startsWith('PRI * HTTP/2.0'),
  http: (head: Buffer) => {
    const seen = ['GET ', 'POST ', 'PUT '].map((method) => startsWith(method)(head))
    return seen.includes(true) ? true : seen.includes(undefined) ? undefined : false
  },
  mqtt: startsWith(Buffer.from('\x10\x0c\0\x04MQTT')),
  amqp: startsWith(Buffer.from('AMQP\0\x01\0\0')),
}
const firsts = {
  remoting: Buffer.from([0, 0, 1, 17, 2, 3]),
  h2: Buffer.from('PRI * HTTP/2.0\r\n\r\n'),
  http: Buffer.from('POST / HTTP/1.1\r\n'),
  mqtt: Buffer.from('\x10\x0c\0\x04MQTT\x05\x02'),
  amqp: Buffer.from('AMQP\0\x01\0\0'),
}

const refusals = (port: Port) =>
  port.logs.filter(({ event }) => event === 'listener.refused').map(({ fields }) => [fields.stage, fields.reason])

describe('first bytes', () => {
  it('tell five protocols apart, split anywhere, and reach the protocol whole', async () => {
    const port = await open(five)
    for (const [name, first] of Object.entries(firsts)) {
      for (let cut = 0; cut <= first.length; cut++) {
        const parts = cut === 0 ? [first] : [first.subarray(0, cut), first.subarray(cut)]
        const answer = await exchange(await dial(port.listener.port), parts)
        expect(answer).toBe(`${name}:${first.toString('latin1')}`)
      }
    }
    expect(port.logs).toEqual([])
  })

  it('may come byte by byte', async () => {
    const port = await open(five)
    const bytes = [...firsts.amqp].map((byte) => Buffer.of(byte))
    expect(await exchange(await dial(port.listener.port), bytes)).toBe(`amqp:${firsts.amqp.toString('latin1')}`)
  })

  it('are not asked for where one protocol is alone: it may speak first', async () => {
    const port = await open({ alone: undefined })
    const socket = await dial(port.listener.port)
    const [hello] = await once(socket, 'data')
    expect(String(hello)).toBe('alone:')
    expect(await exchange(socket, ['anything'])).toBe('anything')
  })

  it('of nobody end the connection with a line in the log', async () => {
    const port = await open(five)
    expect(await exchange(await dial(port.listener.port), ['SSH-2.0-x\r\n'], false)).toBe('')
    expect(refusals(port)).toEqual([['detect', 'first bytes of no protocol here']])
    expect(port.accepted).toEqual([])
  })

  it('that never come, or never suffice, end the connection after the handshake time', async () => {
    const port = await open(five)
    const begin = Date.now()
    const silent = exchange(await dial(port.listener.port), [], false)
    const short = exchange(await dial(port.listener.port), ['PRI *'], false)
    expect(await Promise.all([silent, short])).toEqual(['', ''])
    expect(Date.now() - begin).toBeGreaterThanOrEqual(380)
    expect(Date.now() - begin).toBeLessThan(5_000)
    expect(port.wheel.size).toBe(0)
  })

  it('that suffice for nobody although there are 16 KiB of them end the connection', async () => {
    const port = await open({ greedy: () => undefined, other: () => undefined }, { limits: { handshakeMs: 60_000 } })
    const socket = await dial(port.listener.port)
    expect(await exchange(socket, [Buffer.alloc(17 * 1024)], false)).toBe('')
  })

  it('with a plugin whose `detect` or `accept` throws cost one connection, and are logged', async () => {
    const port = await open({
      bad: (head) => {
        if (head[0] === 66) throw new Error('boom')
        return startsWith('bad')(head)
      },
      good: startsWith('good'),
    })
    expect(await exchange(await dial(port.listener.port), ['B'], false)).toBe('')
    expect(await exchange(await dial(port.listener.port), ['good'])).toBe('good:good')
    expect(port.logs.map(({ event, fields }) => [event, fields.plugin])).toEqual([
      ['plugin.failed', 'bad'],
      ['listener.refused', undefined],
    ])
    expect(refusals(port)).toEqual([['detect', 'internal error']])
  })

  it('and the end in one segment are served', async () => {
    const port = await open(five)
    const socket = await dial(port.listener.port)
    const answer = exchange(socket, [], false)
    socket.end(firsts.mqtt)
    expect(await answer).toBe(`mqtt:${firsts.mqtt.toString('latin1')}`)
  })

  it('peer and local addresses are the socket’s', async () => {
    const port = await open(five)
    const socket = await dial(port.listener.port)
    const { localPort } = socket
    await exchange(socket, [firsts.amqp])
    expect(port.accepted[0]!.peer).toEqual({
      address: '127.0.0.1',
      port: localPort,
      secure: false,
      local: { address: '127.0.0.1', port: port.listener.port },
    })
  })
})

describe('a listener', () => {
  it('refuses connections above the bound and says so once in a while', async () => {
    const port = await open(five, { limits: { connections: 3, handshakeMs: 60_000 } })
    const kept = await Promise.all([1, 2, 3].map(() => dial(port.listener.port)))
    for (let more = 0; more < 5; more++) expect(await exchange(await dial(port.listener.port), [], false)).toBe('')
    expect(port.logs).toEqual([
      {
        level: 'warn',
        event: 'listener.full',
        fields: { port: port.listener.port, connections: 3, dropped: 1 },
      },
    ])
    kept[0]!.destroy()
    await once(kept[0]!, 'close')
    let answer = ''
    while (answer === '') answer = await exchange(await dial(port.listener.port), [firsts.amqp])
    expect(answer).toMatch(/^amqp:/)
    for (const socket of kept) socket.destroy()
  })

  it('shares the bound with the others of its process', async () => {
    const shared = { count: 0 }
    const options = { open: shared, limits: { connections: 2, handshakeMs: 60_000 } }
    const [one, other] = [await open(five, options), await open(five, options)]
    const kept = [await dial(one.listener.port), await dial(other.listener.port)]
    while (shared.count < 2) await new Promise((resolve) => setImmediate(resolve))
    expect(await exchange(await dial(one.listener.port), [], false)).toBe('')
    expect(await exchange(await dial(other.listener.port), [], false)).toBe('')
    for (const socket of kept) socket.destroy()
    while (shared.count > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  it('that closes ends those that have not said what they are, and leaves the others alone', async () => {
    const port = await open(five, { limits: { handshakeMs: 60_000 } })
    const served = await dial(port.listener.port)
    served.write(firsts.amqp)
    await once(port.heard, 'accepted')
    const undecided = await dial(port.listener.port)
    undecided.write('PRI')
    const ended = exchange(undecided, [], false)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await port.listener.close()
    expect(await ended).toBe('')
    expect(await exchange(served, ['more'])).toContain('more')
    await expect(dial(port.listener.port)).rejects.toThrow('ECONNREFUSED')
  })

  it('on a port that is taken rejects with the reason', async () => {
    const port = await open(five)
    await expect(openPort(five, { port: port.listener.port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})

describe('TLS', () => {
  const tlsExchange = async (port: Port, parts: (Buffer | string)[], options: tls.ConnectionOptions = {}) => {
    const socket = dialTls(port.listener.port, options)
    let failed: Error | undefined
    socket.on('error', (error) => (failed = error))
    const answer = await exchange(socket, parts, parts.length > 0)
    return { answer, failed, socket }
  }

  it('is taken off before the first bytes are looked at', async () => {
    const port = await open(five, { tls: tlsOptions('require') })
    for (const [name, first] of Object.entries(firsts)) {
      const { answer } = await tlsExchange(port, [first.subarray(0, 2), first.subarray(2)])
      expect(answer).toBe(`${name}:${first.toString('latin1')}`)
    }
    expect(port.accepted.every(({ peer }) => peer.secure && peer.certificate === undefined)).toBe(true)
    expect(port.logs).toEqual([])
  })

  it('where it is required closes plain connections', async () => {
    const port = await open(five, { tls: tlsOptions('require') })
    expect(await exchange(await dial(port.listener.port), [firsts.amqp], false)).toBe('')
    expect(refusals(port)).toEqual([['tls', 'plain connection on a TLS port']])
  })

  it('where both are accepted takes either', async () => {
    const port = await open(five, { tls: tlsOptions('accept') })
    expect(await exchange(await dial(port.listener.port), [firsts.amqp])).toMatch(/^amqp:/)
    expect((await tlsExchange(port, [firsts.amqp])).answer).toMatch(/^amqp:/)
    expect(port.accepted.map(({ peer }) => peer.secure)).toEqual([false, true])
  })

  it('on a plain port is refused with a line that says so', async () => {
    const port = await open(five)
    expect((await tlsExchange(port, [])).failed).toBeDefined()
    expect(refusals(port)).toEqual([['detect', 'TLS where none is configured']])
  })

  it('that breaks off, is garbage, or never ends costs that connection only', async () => {
    const port = await open(five, { tls: tlsOptions('require') })
    const broken = await dial(port.listener.port)
    broken.write(Buffer.from('160301', 'hex'))
    broken.resetAndDestroy()
    const garbage = await exchange(await dial(port.listener.port), [Buffer.from('1603010005abcdefabcd', 'hex')])
    expect(['', '\x15']).toContain(garbage.slice(0, 1)) // an alert at most
    await exchange(await dial(port.listener.port), [Buffer.from('16030100ff01', 'hex')], false)
    expect(refusals(port).map(([stage]) => stage)).toEqual(expect.arrayContaining(['tls', 'tls']))
    expect(refusals(port).at(-1)).toEqual(['tls', 'TLS handshake took too long'])
    expect((await tlsExchange(port, [firsts.amqp])).answer).toMatch(/^amqp:/)
    expect(port.wheel.size).toBe(0)
  })

  it('checks client certificates where they are asked for', async () => {
    const port = await open(five, { tls: tlsOptions('require', true) })
    const good = await tlsExchange(port, [firsts.amqp], client)
    expect(good.answer).toMatch(/^amqp:/)
    expect(port.accepted[0]!.peer.certificate).toMatchObject({ subject: { CN: 'test client' } })
    for (const bad of [stranger, {}]) {
      const { answer } = await tlsExchange(port, [firsts.amqp], bad)
      expect(answer).toBe('')
    }
    expect(refusals(port)).toEqual([
      ['tls', 'client certificate is not trusted'],
      ['tls', 'client certificate is not trusted'],
    ])
    expect(port.accepted.length).toBe(1)
  })

  it('chooses by ALPN what is served here: HTTP/1.1 before HTTP/2 where a client offers both', async () => {
    const chosen = async (protocols: Parameters<typeof openPort>[0], offered: string[]) => {
      const port = await open(protocols, { tls: tlsOptions('require') })
      const socket = dialTls(port.listener.port, { ALPNProtocols: offered })
      return new Promise((resolve) => {
        socket.on('secureConnect', () => resolve(socket.alpnProtocol)).on('error', (error) => resolve(error.message))
      }).finally(() => socket.destroy())
    }
    const { h2, http, mqtt } = five
    expect(await chosen({ h2, http }, ['h2', 'http/1.1'])).toBe('http/1.1')
    expect(await chosen({ h2, http }, ['h2'])).toBe('h2')
    expect(await chosen({ http, mqtt }, ['h2', 'http/1.1'])).toBe('http/1.1')
    expect(await chosen({ h2, mqtt }, ['h2', 'http/1.1'])).toBe('h2')
    expect(await chosen({ h2, mqtt }, ['mqtt'])).toBe('mqtt')
    expect(await chosen({ h2, mqtt }, ['amqp', 'other'])).toBe('amqp')
    expect(await chosen({ mqtt, http }, ['h2'])).toMatch(/alert no application protocol/i)
  })

  it('serves many handshakes at once, each to its own peer', async () => {
    const port = await open({ alone: undefined }, { tls: tlsOptions('require') })
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => tlsExchange(port, [`client ${index}`]).then(({ answer }) => answer)),
    )
    expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => `alone:client ${index}`))
    expect(new Set(port.accepted.map(({ peer }) => peer.port)).size).toBe(50)
  })

  it('half-closes as plain sockets do: a client that has said everything still gets its answer', async () => {
    const port = await open({ alone: undefined }, { tls: tlsOptions('require') })
    const socket = dialTls(port.listener.port, { allowHalfOpen: true } as tls.ConnectionOptions)
    await once(socket, 'secureConnect')
    const body = 'z'.repeat(1_000_000)
    const answer = exchange(socket, [body])
    expect((await answer).length).toBe('alone:'.length + body.length)
  })
})

describe('PROXY header', () => {
  const v1 = 'PROXY TCP4 198.51.100.7 203.0.113.9 40000 1883\r\n'
  const v1six = 'PROXY TCP6 2001:db8::7 2001:db8::9 40000 1883\r\n'
  const signature = '0d0a0d0a000d0a515549540a'
  const v2 = (commandFamily: string, payload: string) =>
    Buffer.from(signature + commandFamily + (payload.length / 2).toString(16).padStart(4, '0') + payload, 'hex')
  const four = v2('2111', 'c6336407cb0071099c40075b')
  const tlvs = v2('2111', `c6336407cb0071099c40075b${'04000401020304'}${'ea00030a0b0c'}`)
  const six = v2('2121', '20010db800000000000000000000000720010db80000000000000000000000099c40075b')
  const local = v2('2000', '')
  const unknown = 'PROXY UNKNOWN\r\n'

  const source = { address: '198.51.100.7', port: 40000, local: { address: '203.0.113.9', port: 1883 } }
  const source6 = { address: '2001:db8::7', port: 40000, local: { address: '2001:db8::9', port: 1883 } }
  const headers: [string, Buffer, object | undefined][] = [
    ['v1', Buffer.from(v1), source],
    ['v1 over IPv6', Buffer.from(v1six), source6],
    ['v1 UNKNOWN', Buffer.from(unknown), undefined],
    ['v2', four, source],
    ['v2 with TLVs', tlvs, source],
    ['v2 over IPv6', six, source6],
    ['v2 LOCAL', local, undefined],
  ]

  it.each(headers)('%s: split anywhere, its addresses are the peer’s', async (_, header, expected) => {
    const port = await open({ amqp: five.amqp, mqtt: five.mqtt }, { proxyProtocol: 'require' })
    const all = Buffer.concat([header, firsts.amqp])
    for (let cut = 0; cut < all.length; cut++) {
      const parts = cut === 0 ? [all] : [all.subarray(0, cut), all.subarray(cut)]
      expect(await exchange(await dial(port.listener.port), parts)).toBe(`amqp:${firsts.amqp.toString('latin1')}`)
    }
    const own = { address: '127.0.0.1', local: { address: '127.0.0.1', port: port.listener.port } }
    for (const { peer } of port.accepted) expect(peer).toMatchObject(expected ?? own)
    expect(port.logs).toEqual([])
  })

  it('and TLS on one port, in this order', async () => {
    const port = await open(five, { proxyProtocol: 'require', tls: tlsOptions('require') })
    for (const header of [Buffer.from(v1), tlvs]) {
      const raw = await dial(port.listener.port)
      raw.write(header)
      const socket = tls.connect({ socket: raw, servername: 'localhost', ca: authority })
      expect(await exchange(socket, [firsts.amqp])).toBe(`amqp:${firsts.amqp.toString('latin1')}`)
    }
    expect(port.accepted.map(({ peer }) => [peer.address, peer.secure])).toEqual([
      ['198.51.100.7', true],
      ['198.51.100.7', true],
    ])
  })

  it('where it is accepted may be missing', async () => {
    const port = await open(five, { proxyProtocol: 'accept' })
    expect(await exchange(await dial(port.listener.port), [firsts.http])).toMatch(/^http:/)
    expect(await exchange(await dial(port.listener.port), [v1, firsts.http])).toMatch(/^http:/)
    expect(port.accepted.map(({ peer }) => peer.address)).toEqual(['127.0.0.1', '198.51.100.7'])
  })

  it('that is missing where it is required ends the connection', async () => {
    const port = await open(five, { proxyProtocol: 'require' })
    expect(await exchange(await dial(port.listener.port), [firsts.amqp], false)).toBe('')
    expect(refusals(port)).toEqual([['proxy', 'no PROXY header where one is required']])
  })

  it('where none is accepted is nobody’s first bytes', async () => {
    const port = await open(five)
    for (const header of [v1, four]) {
      expect(await exchange(await dial(port.listener.port), [header, firsts.amqp], false)).toBe('')
    }
    expect(refusals(port)).toEqual([
      ['detect', 'first bytes of no protocol here'],
      ['detect', 'first bytes of no protocol here'],
    ])
  })

  it('that is broken ends the connection with the reason', async () => {
    const port = await open(five, { proxyProtocol: 'accept' })
    expect(await exchange(await dial(port.listener.port), ['PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n'], false)).toBe('')
    expect(refusals(port)).toEqual([['proxy', 'PROXY header: port out of range']])
  })

  it('LOCAL of 1,000 health probes leaves no line and no handle', async () => {
    const port = await open(five, { proxyProtocol: 'require', limits: { handshakeMs: 60_000 } })
    const handles = () => process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length
    const before = handles()
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          const socket = net.connect(port.listener.port, '127.0.0.1')
          const closed = once(socket, 'close')
          socket.on('error', () => undefined).resume()
          // Some say LOCAL and close, some close without a word, some reset.
          if (index % 3 === 0) socket.end(local)
          else if (index % 3 === 1) socket.end()
          else once(socket, 'connect').then(() => socket.resetAndDestroy())
          await closed
        }),
      )
    }
    while (handles() > before) await new Promise((resolve) => setImmediate(resolve))
    expect(port.logs).toEqual([])
    expect(port.wheel.size).toBe(0)
    expect(port.accepted).toEqual([])
  })
})

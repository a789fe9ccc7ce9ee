import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { turns, Wire } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { bytesOf, framesIn, greeted, stranger } from '../test/stranger.ts'
import { ending, NODE, Rig, SEAL_KEY, StubBackend } from '../test/support.ts'
import { parseLinkAddress } from './address.ts'
import { connectBackend } from './client.ts'
import { serveBackend } from './server.ts'
import { readFault } from './values.ts'
import { frame, LINK_VERSION } from './wire.ts'

const SECRET = 'sixteen characters'
let rig: Rig
afterEach(() => rig?.end())

const session = bytesOf(frame.session, 1, { id: 'x/1', client: 'c' })

describe('a broker’s link, before it knows who is there', () => {
  it.each([
    ['a frame of 2 GiB', () => Buffer.from('7fffffff', 'hex'), 'tooLarge'],
    ['a frame over 4 KiB', () => Buffer.from('00001001', 'hex'), 'tooLarge'],
    ['a frame without a head', () => Buffer.from('00000000', 'hex'), 'malformed'],
    ['HTTP', () => Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'tooLarge'],
    ['a command at once', () => bytesOf(frame.command, 1, {}), 'malformed'],
    ['a greeting of nobody', () => bytesOf(frame.hello, 0, { version: 1 }), 'malformed'],
    ['a greeting that is a text', () => bytesOf(frame.hello, 0, 'hello'), 'malformed'],
    ['a greeting that is nothing', () => bytesOf(frame.hello, 0, null), 'malformed'],
    ['a value nested a thousand times', () => Buffer.concat([head(frame.hello, 2000), nested(1000)]), 'malformed'],
    ['more items than bytes', () => bytesOf(frame.hello, 0).fill(9, 8), 'malformed'],
  ])('refuses %s', async (_, bytes, code) => {
    rig = new Rig({ secret: SECRET })
    const { wire } = await stranger(rig, SECRET)
    wire.write(bytes())
    await wire.closed
    expect(wire.unread).toHaveLength(0)
    await turns()
    expect(rig.lines).toMatchObject([{ event: 'link.refused', fields: { code } }])
  })

  it('refuses whoever does not know the secret, or speaks another version, and says so', async () => {
    rig = new Rig({ secret: SECRET })
    const saidTo = async (more: object, secret?: string) => {
      const { wire, hello } = await stranger(rig, SECRET)
      wire.write(hello(more, secret))
      const [refused] = framesIn(await wire.rest())
      expect(refused!.type).toBe(frame.refused)
      return readFault(refused!.content).code
    }
    expect(await saidTo({}, 'another secret 16')).toBe('unauthenticated')
    expect(await saidTo({ process: 'y' })).toBe('unauthenticated')
    expect(await saidTo({ proof: Buffer.alloc(32) })).toBe('unauthenticated')
    expect(await saidTo({ proof: 7 })).toBe('unauthenticated')
    expect(await saidTo({ version: LINK_VERSION + 1 })).toBe('unsupported')
    expect(await ending(rig.connect('g1', { secret: 'another secret 16' }))).toBe('unauthenticated')
  })

  it('waits five seconds for a greeting, and for so many strangers', async () => {
    rig = new Rig()
    const { wire } = await stranger(rig, SECRET)
    wire.write(Buffer.from('0000', 'hex'))
    await rig.pass(5_100)
    await wire.closed
    const waiting = Array.from({ length: 65 }, () => new Wire(rig.dial()))
    await waiting[64]!.closed
    expect(waiting[63]!.ended).toBe(false)
    await rig.pass(5_100)
    await Promise.all(waiting.map(({ closed }) => closed))
  })

  it('is not trusted by a gateway that asks for a secret it does not know', async () => {
    rig = new Rig()
    expect(await ending(rig.connect('g1', { secret: SECRET }))).toBe('unauthenticated')
  })
})

describe('a broker’s link, to a gateway gone mad', () => {
  it.each([
    ['a frame of 2 GiB', Buffer.from('7fffffff', 'hex')],
    ['a frame of no gateway', bytesOf(frame.reply, 1)],
    ['a session that is none', bytesOf(frame.session, 1, { id: 7 })],
    ['a command of no session', bytesOf(frame.command, 1, {})],
    [
      'a command cut short',
      Buffer.concat([session, bytesOf(frame.command, 1).fill(0, 9), head(frame.command, 1), Buffer.of(1)]),
    ],
    ['a command of no kind', Buffer.concat([session, head(frame.command, 8), Buffer.from([1, 0, 9, 0, 9, 9, 9, 9])])],
  ])('ends at %s', async (_, bytes) => {
    rig = new Rig({ secret: SECRET })
    const wire = await greeted(rig, SECRET)
    wire.write(bytes)
    await wire.closed
    expect(rig.backend.calls).toEqual([])
  })

  it('goes on after what means nothing', async () => {
    rig = new Rig({ secret: SECRET })
    const wire = await greeted(rig, SECRET)
    wire.write(Buffer.concat([bytesOf(frame.cancel, 9), bytesOf(frame.answer, 9, 1), bytesOf(frame.pong, 0)]))
    wire.write(bytesOf(frame.ping, 5))
    const [pong] = framesIn(await wire.take(9))
    expect(pong!.type).toBe(frame.pong)
  })

  it('is given up when it is silent, and looked for with signs of life', async () => {
    rig = new Rig({ secret: SECRET })
    const wire = await greeted(rig, SECRET)
    for (let n = 0; n < 3; n++) {
      await rig.pass(5_000)
      expect(framesIn(await wire.take(9))[0]!.type).toBe(frame.ping)
    }
    await rig.pass(10_000)
    await wire.closed
    expect(rig.lines.at(-1)).toMatchObject({ event: 'link.closed', fields: { reason: 'link: silent for 20000 ms' } })
  })
})

describe('a gateway that takes nothing', () => {
  it('is read no further, and given up after a minute', async () => {
    rig = new Rig({ secret: SECRET })
    const wire = await greeted(rig, SECRET)
    rig.backend.answers = () => ({ answer: Buffer.alloc(8 * 1024 * 1024) })
    wire.socket.pause()
    const command = (id: number) => Buffer.concat([head(frame.command, ask.length).fill(id, 8), ask])
    // Session 1, no flags, no time left, in the form of any command: { kind: 'members' }.
    const value = bytesOf(0, 0, { kind: 'members' }).subarray(9)
    const ask = Buffer.concat([Buffer.from([1, 0, 0, 0]), value])
    wire.write(session)
    for (let id = 1; id <= 20; id++) {
      wire.write(command(id))
      await turns(2)
    }
    const read = rig.backend.calls.length
    expect(read).toBeGreaterThanOrEqual(8)
    expect(read).toBeLessThan(12)
    await rig.pass(50_000)
    expect(rig.server!.stats().connected).toBe(1)
    await rig.pass(20_000)
    expect(rig.server!.stats().connected).toBe(0)
    expect(rig.lines.at(-1)).toMatchObject({ fields: { reason: 'link: nothing taken for 60000 ms' } })
  })
})

describe('a gateway’s link, to a broker gone mad', () => {
  it.each([
    ['an answer to nothing', bytesOf(frame.reply, 77)],
    ['messages for nobody', bytesOf(frame.deliveries, 77)],
    ['a notice that is none', bytesOf(frame.notice, 1, null)],
    ['a frame of no broker', bytesOf(frame.command, 1)],
  ])('ends at %s, and comes again', async (_, bytes) => {
    rig = new Rig()
    const link = await rig.connect('g1')
    rig.sockets[0]!.write(bytes)
    await turns()
    expect(link.stats()).toMatchObject({ connected: false, connections: 1 })
    await rig.pass(1_000)
    expect(link.stats()).toMatchObject({ connected: true, connections: 2 })
  })
})

describe('an address', () => {
  it('is a path or a host with a port', () => {
    expect(parseLinkAddress('unix:rel')).toEqual({ path: 'rel' })
    expect(parseLinkAddress('/a/b')).toEqual({ path: '/a/b' })
    expect(parseLinkAddress('[::1]:7')).toEqual({ host: '::1', port: 7 })
    for (const text of ['', 'unix:', 'host', 'host:70000', '[x]:1', 'a b:1'])
      expect(() => parseLinkAddress(text)).toThrow('neither unix:PATH nor host:port')
  })

  it('beyond this machine asks for a secret at both ends', async () => {
    rig = new Rig()
    const listen = (at: string, secret?: string) =>
      ending(serveBackend(new StubBackend(), { listen: at, sealKey: SEAL_KEY, ...(secret && { secret }) }))
    expect(await listen('0.0.0.0:0')).toBe('invalid')
    expect(await listen('127.0.0.1:0', 'short')).toBe('invalid')
    expect(await listen(`unix:/tmp/${'x'.repeat(120)}`)).toBe('invalid')
    expect(await ending(connectBackend({ address: 'broker.example:7', process: 'g' }))).toBe('invalid')
  })

  it('of a socket is its user’s alone; a dead broker’s is taken over, a live one’s is not', async () => {
    rig = new Rig()
    const folder = mkdtempSync(join(tmpdir(), 'sluice-link-'))
    const path = join(folder, 'broker.sock')
    try {
      writeFileSync(path, '')
      const options = { listen: `unix:${path}`, sealKey: SEAL_KEY }
      const server = await serveBackend(new StubBackend(), options)
      expect([server.address, statSync(path).mode & 0o777]).toEqual([`unix:${path}`, 0o600])
      expect(await ending(serveBackend(new StubBackend(), options))).toBe('conflict')
      const link = await connectBackend({ address: path, process: 'g' })
      expect([...link.nodes]).toEqual([NODE])
      await link.close()
      await server.close()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('of a port: any free one; who is not there in time is said', async () => {
    rig = new Rig()
    const server = await serveBackend(new StubBackend(), { listen: '127.0.0.1:0', sealKey: SEAL_KEY })
    const link = await connectBackend({ address: server.address, process: 'g' })
    await link.close()
    await server.close()
    const nobody = connectBackend({ address: server.address, process: 'g', startMs: 100 })
    await expect(nobody).rejects.toThrow(`no broker at ${server.address} within 100 ms`)
    expect(net.isIP(server.address.split(':')[0]!)).toBe(4)
  })
})

function head(type: number, bytes: number): Buffer {
  const made = Buffer.alloc(9)
  made.writeUInt32BE(bytes + 5)
  made[4] = type
  return made
}
function nested(depth: number): Buffer {
  return Buffer.alloc(2 * depth, Buffer.of(9, 1))
}

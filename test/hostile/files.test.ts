import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SluiceProcess, startSluice } from '../run/process.ts'

/** What a process at its limit of open files does: clients beyond it are turned away at once, those it has live on. */
const FILES = 500
const AT_ONCE = 25
const WITHIN_MS = 5_000

/** MQTT 3.1.1: a clean session without keep alive. */
const connectOf = (id: string): Buffer => {
  const name = Buffer.from(id)
  const body = Buffer.from('00044d5154540402000000', 'hex')
  return Buffer.concat([Buffer.of(0x10, body.length + 1 + name.length), body, Buffer.of(name.length), name])
}
const CONNACK = '20020000'
/** PUBLISH of `x` to `t` with QoS 1 and the id 7, then PINGREQ. */
const WORK = Buffer.from('3206000174000778c000', 'hex')
const ANSWERS = ['40020007', 'd000'] as const

let folder: string
let server: SluiceProcess
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-files-'))
  server = await startSluice({ data: folder, set: ['drain.leavingMs=0', 'drain.announceMs=0'], files: FILES })
})
afterAll(async () => {
  server.kill('SIGTERM')
  await server.exited
  rmSync(folder, { recursive: true })
})

/** So many bytes in hex, or what came before the end. */
const read = (socket: net.Socket, bytes: number): Promise<string> =>
  new Promise((resolve, reject) => {
    let got = ''
    const done = () => {
      clearTimeout(timer)
      socket.off('data', take).off('close', done)
      resolve(got)
    }
    const take = (chunk: Buffer) => {
      got += chunk.toString('hex')
      if (got.length >= bytes * 2) done()
    }
    const timer = setTimeout(() => reject(new Error(`neither served nor refused; got "${got}"`)), WITHIN_MS)
    socket.on('data', take).once('close', done)
  })

let ids = 0
/** A client that is in; undefined: it was turned away. */
const enter = async (): Promise<net.Socket | undefined> => {
  const socket = net.connect(server.port, '127.0.0.1')
  socket.on('error', () => undefined)
  const answer = read(socket, 4)
  socket.write(connectOf(`files-${++ids}`))
  if ((await answer) === CONNACK) return socket
  socket.destroy()
  return undefined
}

const works = async (socket: net.Socket): Promise<boolean> => {
  const answer = read(socket, 6)
  socket.write(WORK)
  const got = await answer
  return got === ANSWERS.join('') || got === [...ANSWERS].reverse().join('')
}

describe('at the limit of open files', () => {
  it('new connections are ended at once, old ones are served, and who leaves makes room', async () => {
    const clients: net.Socket[] = []
    for (let refused = 0; refused === 0; ) {
      const some = await Promise.all(Array.from({ length: AT_ONCE }, enter))
      for (const one of some) if (one) clients.push(one)
      refused = some.filter((one) => one === undefined).length
      expect(clients.length).toBeLessThan(FILES)
    }
    expect(clients.length).toBeGreaterThan(FILES / 2)
    expect(await Promise.all(clients.map(works))).toEqual(clients.map(() => true))
    expect(await Promise.all([enter(), enter(), enter()])).toEqual([undefined, undefined, undefined])

    for (const leaving of clients.splice(0, 3)) {
      const gone = once(leaving, 'close')
      leaving.destroy()
      await gone
    }
    const deadline = Date.now() + WITHIN_MS
    let fresh: net.Socket | undefined
    while (!fresh && Date.now() < deadline) fresh = await enter()
    expect(fresh && (await works(fresh))).toBe(true)
    expect(await works(clients[0]!)).toBe(true)
    for (const one of [...clients, fresh!]) one.destroy()
  }, 20_000)
})

import { existsSync, mkdtempSync, readdirSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Protocol, ProtocolServer } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { startGateway } from './gateway.ts'

const directory = () => mkdtempSync(join(tmpdir(), 'sluice-run-'))
const noWait = { leavingMs: 0, announceMs: 0, settleMs: 0 }
const protocol = (name: string, server: Partial<ProtocolServer> = {}): Protocol => ({
  api: 1,
  name,
  detect: () => false,
  start: () => ({ accept: () => undefined, connections: () => [], close: async () => undefined, ...server }),
})

describe('a gateway', () => {
  it('that cannot start leaves nothing open: the directory, the port and the protocols are free again', async () => {
    const taken = net.createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as net.AddressInfo
    const data = directory()
    let closed = 0
    const one = protocol('one', { close: async () => void closed++ })
    const failing: readonly [object, RegExp][] = [
      [{ listeners: [{ port: 0 }, { port }] }, /EADDRINUSE/],
      [{ admin: { port } }, /EADDRINUSE/],
      [{ listeners: [{ port: 0, protocols: ['other'] }] }, /other does not run/],
      [{ protocols: [one, 'nowhere'] }, /nowhere/],
      [{ protocols: [one, { ...one, name: 'bad', start: () => Promise.reject(new Error('no start')) }] }, /no start/],
    ]
    for (const [options, words] of failing) {
      await expect(startGateway({ data, protocols: [one], ...options })).rejects.toThrow(words)
    }
    expect(closed).toBe(4)
    const gateway = await startGateway({ data, protocols: [one] })
    await gateway.close()
    taken.close()
  })

  it('that cannot start takes its temporary store along', async () => {
    const stores = () => readdirSync(tmpdir()).filter((name) => /^sluice-[A-Za-z0-9]{6}$/.test(name)).length
    const before = stores()
    await expect(startGateway({ protocols: ['nowhere'] })).rejects.toThrow('nowhere')
    await expect(startGateway({ advertise: 'nowhere' })).rejects.toThrow('neither dialled nor host:port')
    expect(stores()).toBeLessThanOrEqual(before)
  })

  it('leaves once, whoever asks, and tells each the same', async () => {
    const gateway = await startGateway({ protocols: [protocol('one')], drain: noWait })
    const [first, second] = [gateway.drain(), gateway.drain()]
    await gateway.close()
    expect(await first).toBe(await second)
    expect(await gateway.drained).toBe(await first)
    expect(await first).toMatchObject({ clean: true, byProtocol: { one: { told: 0 } } })
  })

  it('that is closed does not wait for a drain that is under way', async () => {
    const gateway = await startGateway({ protocols: [protocol('one')], drain: { ...noWait, leavingMs: 60_000 } })
    const drained = gateway.drain()
    const began = performance.now()
    await gateway.close()
    await drained
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  it('whose protocol does not close properly closes all the same, and names it', async () => {
    const logged: unknown[] = []
    const note = (event: string, fields?: object) => void logged.push([event, fields])
    const log = { info: () => undefined, warn: note, error: note }
    const data = directory()
    const gateway = await startGateway({
      data,
      log,
      protocols: [protocol('bad', { close: () => Promise.reject(new Error('never')) })],
    })
    await gateway.close()
    expect(logged).toEqual([['plugin.failed', { plugin: 'bad', error: expect.stringContaining('never') }]])
    expect(existsSync(join(data, 'ports.json'))).toBe(true)
    await (await startGateway({ data, protocols: [protocol('one')] })).close()
  })
})

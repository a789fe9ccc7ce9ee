import { mkdtempSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Running, Wheel } from '@sluice/core'
import { fakeClock } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { ConfigError, checkConfig } from './config/load.ts'
import type { ConfigInput } from './config/schema.ts'
import { listenOptions, openListeners } from './listeners.ts'

const tls = (name: string) => fileURLToPath(new URL(`../../../test/tls/${name}`, import.meta.url))
const server = { accept: () => undefined, connections: () => [], close: async () => undefined }
const protocol = (name: string, blind = false): Running => ({
  protocol: { api: 1, name, start: () => server, ...(!blind && { detect: () => true }) },
  server,
})
const running = new Map([protocol('a'), protocol('b'), protocol('blind', true)].map((one) => [one.protocol.name, one]))

const contextOf = (listeners: ConfigInput['listeners']) => {
  const clock = fakeClock()
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  return { config: checkConfig({ listeners }), running, wheel: new Wheel(clock), clock, log }
}
const optionsOf = (listener: NonNullable<ConfigInput['listeners']>[number]) => {
  const context = contextOf([listener])
  return listenOptions(context.config.listeners[0]!, context, { count: 0 })
}

describe('listeners', () => {
  it('serve the protocols that are named, or all', () => {
    expect(optionsOf({ port: 1, protocols: ['b', 'a'] })).toMatchObject({
      host: '127.0.0.1',
      port: 1,
      proxyProtocol: 'off',
      protocols: [running.get('b'), running.get('a')],
    })
    expect(optionsOf({ port: 1, protocols: ['blind'] }).protocols).toEqual([running.get('blind')])
    expect(optionsOf({ port: 1, protocols: ['a'] })).not.toHaveProperty('tls')
  })

  it('read what TLS wants', () => {
    const files = { cert: tls('server.crt'), key: tls('server.key') }
    expect(optionsOf({ port: 1, protocols: ['a'], tls: files }).tls).toMatchObject({
      clientAuth: false,
      mode: 'require',
    })
    const strict = optionsOf({
      port: 1,
      protocols: ['a'],
      tls: { ...files, ca: tls('ca.crt'), clientAuth: true, mode: 'accept' },
    })
    expect(strict.tls).toMatchObject({ clientAuth: true, mode: 'accept', context: { ca: expect.any(Buffer) } })
  })

  const junk = join(mkdtempSync(join(tmpdir(), 'sluice-tls-')), 'junk.pem')
  writeFileSync(junk, 'no key')
  it.each([
    [{ protocols: ['c'] }, 'listener on port 7: protocol c does not run'],
    [{ protocols: ['a', 'blind'] }, 'listener on port 7: blind cannot be told apart, it needs a port of its own'],
    [{}, 'blind cannot be told apart'],
    [{ protocols: ['a'], tls: { cert: '/nowhere.crt', key: tls('server.key') } }, 'cannot read /nowhere.crt: ENOENT'],
    [{ protocols: ['a'], tls: { cert: junk, key: tls('server.key') } }, junk],
    [{ protocols: ['a'], tls: { cert: tls('server.crt'), key: tls('client.key') } }, 'server.crt and '],
    [
      { protocols: ['a'], tls: { cert: tls('server.crt'), key: tls('server.key'), clientAuth: true } },
      'clientAuth needs ca',
    ],
  ])('refuse %j', (listener, words) => {
    expect(() => optionsOf({ port: 7, ...listener })).toThrow(ConfigError)
    expect(() => optionsOf({ port: 7, ...listener })).toThrow(words)
  })

  it('are all open or none', async () => {
    const taken = net.createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as net.AddressInfo
    const open = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length
    const before = open()
    const one = (at: number) => ({ port: at, protocols: ['a'] })
    await expect(openListeners(contextOf([one(0), one(port), one(0)]))).rejects.toThrow('EADDRINUSE')
    for (let turn = 0; turn < 100 && open() > before; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(open()).toBe(before)
    taken.close()
    const opened = await openListeners(contextOf([one(0), one(0)]))
    expect(new Set(opened.map((listener) => listener.port)).size).toBe(2)
    await Promise.all(opened.map((listener) => listener.close()))
  })
})

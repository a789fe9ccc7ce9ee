import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkConfig } from './config/load.ts'
import { storeHost } from './embedded.ts'
import { PORTS_FILE, portsOf, portTable, writePorts } from './ports.ts'
import { sealKey } from './sealKey.ts'

const directory = () => mkdtempSync(join(tmpdir(), 'sluice-files-'))

describe('the key of receipts', () => {
  it('is made once for a directory, for its owner only', () => {
    const data = directory()
    const key = sealKey(data)
    expect(key).toHaveLength(32)
    expect(sealKey(data)).toEqual(key)
    expect(sealKey(directory())).not.toEqual(key)
    expect(readdirSync(data)).toEqual(['seal.key'])
    expect(statSync(join(data, 'seal.key')).mode & 0o777).toBe(0o600)
  })

  it.each(['', 'ab', 'zz'.repeat(32), 'ab'.repeat(33)])('is not %j', (text) => {
    const data = directory()
    writeFileSync(join(data, 'seal.key'), text)
    expect(() => sealKey(data)).toThrow(/seal.key holds no key/)
  })
})

describe('ports', () => {
  const listener = (port: number) => ({ host: '127.0.0.1', port, close: async () => undefined })
  const config = checkConfig({
    listeners: [{ port: 0 }, { host: '::1', port: 0, protocols: ['mqtt'], tls: { cert: 'c', key: 'k' } }],
  })
  const ports = portsOf(config, [listener(4001), listener(4002)], ['http', 'mqtt'], 4003)

  it('are what was really taken', () => {
    expect(ports).toEqual({
      listeners: [
        { host: '127.0.0.1', port: 4001, protocols: ['http', 'mqtt'], tls: false },
        { host: '::1', port: 4002, protocols: ['mqtt'], tls: true },
      ],
      admin: { host: '127.0.0.1', port: 4003 },
    })
  })

  it('are written for other programs, and for people', () => {
    const data = directory()
    writePorts(data, ports)
    writePorts(data, ports)
    expect(readdirSync(data)).toEqual([PORTS_FILE])
    expect(JSON.parse(readFileSync(join(data, PORTS_FILE), 'utf8'))).toEqual(ports)
    expect(portTable(ports).split('\n')).toEqual([
      '  any protocol (http, mqtt)  127.0.0.1:4001',
      '  mqtt over TLS              [::1]:4002',
      '  admin, health, metrics     http://127.0.0.1:4003',
    ])
  })
})

describe('where a stored message says it lies', () => {
  it.each([
    [{}, { address: '127.0.0.1', port: 8081 }],
    [{ listeners: [{ host: '10.0.0.5', port: 9 }] }, { address: '10.0.0.5', port: 9 }],
    [{ listeners: [{ host: '0.0.0.0', port: 9 }] }, { address: '127.0.0.1', port: 9 }],
    [{ listeners: [{ host: '::', port: 9 }] }, { address: '127.0.0.1', port: 9 }],
    [{ advertise: '192.0.2.1:80' }, { address: '192.0.2.1', port: 80 }],
    [{ advertise: '[2001:db8::1]:80' }, { address: '2001:db8::1', port: 80 }],
    [{ advertise: 'mq.example.com:80' }, { address: '127.0.0.1', port: 80 }],
  ])('%j', (config, host) => {
    expect(storeHost(checkConfig(config))).toEqual(host)
  })
})

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ConfigError, checkConfig, loadConfig } from './load.ts'
import { configSchema } from './schema.ts'

const file = (text: string): string => {
  const path = join(mkdtempSync(join(tmpdir(), 'sluice-config-')), 'sluice.yaml')
  writeFileSync(path, text)
  return path
}

describe('configuration', () => {
  it('has a default for every key', () => {
    const config = checkConfig({})
    expect(config.listeners.map(({ port }) => port)).toEqual([8081, 9876, 8080, 1883, 5672])
    expect(config.listeners.every(({ host }) => host === '127.0.0.1')).toBe(true)
    expect(config.drain).toEqual({ leavingMs: 5_000, announceMs: 10_000, settleMs: 20_000 })
    expect(config.backend.embedded.flush).toBe('sync')
  })

  it('takes file, then environment, then flags, and says where each came from', () => {
    const { config, sources } = loadConfig({
      file: file('data: /from/file\nadmin: { port: 1 }\ndrain: { leavingMs: 1 }'),
      env: { SLUICE_ADMIN_PORT: '2', SLUICE_DRAIN_LEAVING_MS: '2', OTHER: 'x' },
      set: ['drain.leavingMs=3'],
    })
    expect([config.data, config.admin.port, config.drain.leavingMs]).toEqual(['/from/file', 2, 3])
    expect(sources).toEqual({ data: 'file', 'admin.port': 'environment', 'drain.leavingMs': 'flag' })
  })

  it('hands on options of protocols as they stand', () => {
    const { config } = loadConfig({ set: ['options.mqtt.apsara=true', 'options.mine.size=2'] })
    expect(config.options).toEqual({ mqtt: { apsara: true }, mine: { size: 2 } })
  })

  it('changes one member of a list and keeps the others', () => {
    const { config } = loadConfig({ set: ['listeners.0.port=0'] })
    expect(config.listeners.map(({ port }) => port)).toEqual([0, 9876, 8080, 1883, 5672])
  })

  it.each([
    ['dran: {}', 'dran: no such key; did you mean drain?'],
    ['drain: { leavngMs: 1 }', 'drain.leavngMs: no such key; did you mean leavingMs?'],
    ['listeners: [{ prt: 1, port: 2 }]', 'listeners.0.prt: no such key; did you mean port?'],
    ['admin: { port: 70000 }', 'admin.port: '],
    ['workers: 2', 'workers: '],
    ['backend: { brokers: [a:1, b:2] }', 'backend.brokers: one broker; several are not built yet'],
    ['backend: { secret: short }', 'backend.secret: '],
    ['admin: { host: 0.0.0.0 }', 'admin: host is not on loopback'],
    ['admin: { hots: x }', 'admin.hots: no such key; did you mean host?'],
    ['advertise: somewhere', 'advertise: neither dialled nor host:port'],
    ['listeners: [{ port: 1, tls: { cert: a, key: b, clientAuth: true } }]', 'listeners.0.tls: clientAuth needs ca'],
    ['- a list', 'not a mapping'],
  ])('refuses %s', (text, words) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(ConfigError)
    expect(() => loadConfig({ file: file(text) })).toThrow(words)
  })

  it('refuses a misspelled environment variable and a flag without a value', () => {
    expect(() => loadConfig({ env: { SLUICE_DRAIN_LEAVNG_MS: '1' } })).toThrow(
      'SLUICE_DRAIN_LEAVNG_MS: no such key; did you',
    )
    expect(() => loadConfig({ set: ['drain'] })).toThrow('--set takes key.path=value')
  })

  it('prints a JSON Schema of the same keys', () => {
    expect(configSchema()).toMatchObject({ type: 'object', additionalProperties: false, properties: { listeners: {} } })
  })
})

import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Protocol } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { ConfigError } from './config/load.ts'
import { loadProtocols } from './protocols.ts'

const base = mkdtempSync(join(tmpdir(), 'sluice-protocols-'))
const MAKE = "export default () => ({ api: 1, name: 'mine', start() {} })"
let names = 0

/** A package in `base`, installed. @returns its name */
const install = (manifest: object | string, files: Readonly<Record<string, string>> = { 'index.js': MAKE }): string => {
  const name = `sluice-protocol-${++names}`
  const folder = join(base, 'node_modules', name)
  const text = typeof manifest === 'string' ? manifest : JSON.stringify({ name, type: 'module', ...manifest })
  for (const [path, content] of Object.entries({ ...files, 'package.json': text })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return name
}
const api = { sluice: { apiVersion: 1 } }
const protocol = (name: string, more: object = {}): Protocol => ({ api: 1, name, start: () => ({}) as never, ...more })
const load = (...wanted: (string | Protocol)[]) => loadProtocols(wanted, base)

describe('protocols', () => {
  it('are built in, handed over, or a package, in the order that was asked for', async () => {
    const one = protocol('one')
    const loaded = await load('http', one, install(api))
    expect(loaded.map(({ protocol: { name } }) => name)).toEqual(['http', 'one', 'mine'])
    expect(loaded.map(({ folder }) => folder !== undefined)).toEqual([false, false, true])
    expect(loaded[1]!.protocol).toBe(one)
  })

  it.each([
    [{ ...api, exports: './lib/a.js' }],
    [{ ...api, exports: { '.': './lib/a.js' } }],
    [{ ...api, exports: { '.': { types: './a.d.ts', import: './lib/a.js' } } }],
    [{ ...api, exports: { default: './lib/a.js' } }],
    [{ ...api, main: 'lib/a.js' }],
  ])('a package says where it begins: %j', async (manifest) => {
    const [loaded] = await load(install(manifest, { 'lib/a.js': MAKE }))
    expect(loaded!.protocol.name).toBe('mine')
  })

  it('a linked package is known by the folder that its stacks name', async () => {
    const folder = join(base, 'elsewhere')
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'linked', type: 'module', ...api }))
    writeFileSync(join(folder, 'index.js'), MAKE)
    mkdirSync(join(base, 'node_modules'), { recursive: true })
    symlinkSync(folder, join(base, 'node_modules', 'linked'))
    const [loaded] = await load('linked')
    expect(loaded!.folder).toMatch(/elsewhere$/)
  })

  it.each([
    [
      'nowhere to be found',
      () => 'nowhere',
      /^protocol nowhere: neither built in \(remoting, grpc, http, mqtt, amqp\) nor installed$/,
    ],
    ['without the version of the interface', () => install({}), /package.json says no sluice.apiVersion 1$/],
    ['of another version', () => install({ sluice: { apiVersion: 2 } }), /says no sluice.apiVersion 1$/],
    ['with a broken manifest', () => install('{'), /package.json: /],
    ['whose entry is missing', () => install({ ...api, main: 'gone.js' }), /gone.js is not there$/],
    ['that exports no function', () => install(api, { 'index.js': 'export default 5' }), /exports no function$/],
    ['that makes nothing', () => install(api, { 'index.js': 'export default () => null' }), /is no protocol$/],
    ['that makes something else', () => install(api, { 'index.js': 'export default () => ({})' }), /is no protocol$/],
    [
      'that throws when loaded',
      () => install(api, { 'index.js': "throw new Error('boom')" }),
      /its package fails: boom$/,
    ],
    [
      'that throws when made',
      () => install(api, { 'index.js': "export default () => { throw new Error('bang') }" }),
      /fails: bang$/,
    ],
    ['of another interface', () => protocol('new', { api: 2 }), /^protocol new: api 2, this gateway has 1$/],
  ])('one is refused that is %s', async (_, make, words) => {
    const loading = load(make())
    await expect(loading).rejects.toThrow(ConfigError)
    await expect(loading).rejects.toThrow(words)
  })

  it('are handed their options, which they refuse by name', async () => {
    const name = install(api, { 'index.js': "export default (o) => ({ api: 1, name: 'mine', start() {}, given: o })" })
    const [loaded] = await loadProtocols([name], base, { [name]: { colour: 'red' } })
    expect(loaded!.protocol).toMatchObject({ given: { colour: 'red' } })
    await loadProtocols(['mqtt'], base, { mqtt: { apsara: true, receiveMaximum: 20 } })
  })

  it.each([
    [{ mqtt: { receiveMaximum: 0 } }, 'options.mqtt.receiveMaximum: is not an integer from 1 to 65535'],
    [{ remoting: { idle: 1 } }, 'options.remoting.idle: no such option; there are idleMs'],
    [{ grpc: { idle: 1 } }, 'options.grpc.idle: no such option; there are transport'],
    [{ grpc: { transport: 'http' } }, 'options.grpc.transport: is not one of frames, grpc-js'],
    [{ http: { headerBytes: 1 } }, 'options.http.headerBytes: is not an integer from 1024 to 16777216'],
    [{ amqp: { mechanisms: ['GSSAPI'] } }, 'options.amqp.mechanisms: is not a list of ANONYMOUS, PLAIN'],
    [{ smtp: {} }, 'options.smtp: no such protocol is loaded by name'],
  ])('options %j are refused', async (options, words) => {
    const loading = loadProtocols(['remoting', 'grpc', 'http', 'mqtt', 'amqp'], base, options)
    await expect(loading).rejects.toThrow(ConfigError)
    await expect(loading).rejects.toThrow(words)
  })

  it('two of one name are refused', async () => {
    await expect(load(protocol('same'), protocol('same'))).rejects.toThrow('two protocols are named same')
  })
})

import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Fault, type Protocol } from '@sluice/core'
import { ConfigError } from './config/load.ts'

type Make = { default: (options?: Options) => Protocol }
type Options = Readonly<Record<string, unknown>>

/** What ships with Sluice. Nothing registers itself: this is the list. */
const builtIn: Readonly<Record<string, () => Promise<Make>>> = {
  remoting: () => import('@sluice/protocol-remoting'),
  grpc: () => import('@sluice/protocol-grpc'),
  http: () => import('@sluice/protocol-http'),
  mqtt: () => import('@sluice/protocol-mqtt'),
  amqp: () => import('@sluice/protocol-amqp'),
}

/** A protocol and the folder its code lies in, by which a crash finds its name. */
export interface Loaded {
  readonly protocol: Protocol
  readonly folder?: string
}

/**
 * Protocols by name: built-in, or a package that default-exports a function which makes one. Packages are looked up
 * from `base`, the folder of the configuration. `options`, by the names of protocols, are handed to what makes them.
 * @throws ConfigError
 */
export const loadProtocols = async (
  wanted: readonly (string | Protocol)[],
  base: string,
  options: Readonly<Record<string, Options>> = {},
): Promise<readonly Loaded[]> => {
  const stray = Object.keys(options).find((name) => !wanted.includes(name))
  if (stray !== undefined) throw new ConfigError(`options.${stray}: no such protocol is loaded by name`)
  const loaded = await Promise.all(
    wanted.map((one) => (typeof one === 'string' ? load(one, base, options[one]) : { protocol: one })),
  )
  const names = new Set<string>()
  for (const { protocol } of loaded) {
    if (protocol.api !== 1)
      throw new ConfigError(`protocol ${protocol.name}: api ${String(protocol.api)}, this gateway has 1`)
    if (names.has(protocol.name)) throw new ConfigError(`two protocols are named ${protocol.name}`)
    names.add(protocol.name)
  }
  return loaded
}

const load = async (name: string, base: string, options?: Options): Promise<Loaded> => {
  const ours = builtIn[name]
  if (ours) return { protocol: make(name, (await ours()).default, options) }
  const { entry, folder } = locate(name, base)
  const protocol = await makeForeign(name, entry, options)
  if (!isProtocol(protocol)) throw new ConfigError(`protocol ${name}: what its package makes is no protocol`)
  return { protocol, folder }
}

/** @throws ConfigError naming the option that the protocol refuses */
const make = <T>(name: string, from: (options?: Options) => T, options: Options | undefined): T => {
  try {
    return from(options)
  } catch (error) {
    if (!Fault.is(error) || error.about === undefined) throw error
    throw new ConfigError(`options.${name}.${error.about}: ${error.message}`)
  }
}

const makeForeign = async (name: string, entry: string, options?: Options): Promise<unknown> => {
  try {
    const module = (await import(pathToFileURL(entry).href)) as Partial<Make>
    if (typeof module.default !== 'function') throw new ConfigError(`protocol ${name}: its package exports no function`)
    return make<unknown>(name, module.default, options)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(`protocol ${name}: its package fails: ${(error as Error).message}`, { cause: error })
  }
}

const isProtocol = (value: unknown): value is Protocol =>
  typeof value === 'object' && value !== null && 'api' in value && 'name' in value && 'start' in value

interface Manifest {
  readonly main?: string
  readonly exports?: unknown
  readonly sluice?: { readonly apiVersion?: number }
}

const locate = (name: string, base: string): { entry: string; folder: string } => {
  const found = findManifest(name, base)
  if (!found)
    throw new ConfigError(`protocol ${name}: neither built in (${Object.keys(builtIn).join(', ')}) nor installed`)
  const manifest = readManifest(name, found)
  if (manifest.sluice?.apiVersion !== 1) {
    throw new ConfigError(`protocol ${name}: package.json says no sluice.apiVersion 1`)
  }
  // Stacks name real paths, also of a package that is a link.
  const folder = realpathSync(dirname(found))
  const entry = join(folder, entryOf(manifest.exports) ?? manifest.main ?? 'index.js')
  if (!existsSync(entry)) throw new ConfigError(`protocol ${name}: ${entry} is not there`)
  return { entry, folder }
}

const readManifest = (name: string, path: string): Manifest => {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest
  } catch (error) {
    throw new ConfigError(`protocol ${name}: ${path}: ${(error as Error).message}`)
  }
}

const findManifest = (name: string, base: string): string | undefined => {
  try {
    return findPackageJSON(name, pathToFileURL(join(base, 'sluice.yaml')))
  } catch {
    return undefined
  }
}

/** The file behind `exports`: the string, or what stands under ".", "import" or "default". */
const entryOf = (exports: unknown): string | undefined => {
  if (typeof exports === 'string') return exports
  if (typeof exports !== 'object' || exports === null) return undefined
  const record = exports as Record<string, unknown>
  return entryOf(record['.'] ?? record.import ?? record.default)
}

import { readFileSync } from 'node:fs'
import { parse as parseYaml } from 'yaml'
import type { z } from 'zod'
import { allPaths, keysAt, nearest } from './keys.ts'
import { type Config, schema } from './schema.ts'

/** A mistake in the configuration, in words for whoever wrote it. The command line ends with code 2. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** Where an effective value comes from; what is not listed is a default. */
export type ConfigSource = 'file' | 'environment' | 'flag'

export interface ConfigInputs {
  /** YAML. */
  readonly file?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `key.path=value`; the value is YAML. */
  readonly set?: readonly string[]
}

/** @throws ConfigError naming the path, and the nearest known key for an unknown one */
export const checkConfig = (input: unknown): Config => {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new ConfigError(issue ? describe(issue) : 'not a configuration')
}

const describe = (issue: z.core.$ZodIssue): string => {
  const at = issue.path.join('.')
  if (issue.code !== 'unrecognized_keys') return `${at || 'configuration'}: ${issue.message}`
  const [key = ''] = issue.keys
  return unknownKey([at, key].filter(Boolean).join('.'), key, keysAt(issue.path))
}

const unknownKey = (where: string, word: string, known: readonly string[]): string => {
  const near = nearest(word, known)
  return `${where}: no such key${near ? `; did you mean ${near}?` : ''}`
}

/** File < environment < flags. @throws ConfigError */
export const loadConfig = (inputs: ConfigInputs): { config: Config; sources: Record<string, ConfigSource> } => {
  const raw: Record<string, unknown> = {}
  const sources: Record<string, ConfigSource> = {}
  if (inputs.file !== undefined) {
    const read = readYaml(inputs.file)
    Object.assign(raw, read)
    for (const path of leaves(read)) sources[path] = 'file'
  }
  for (const [name, value] of Object.entries(inputs.env ?? {})) {
    if (!name.startsWith('SLUICE_') || value === undefined || foreign.has(name)) continue
    const path = pathOfEnvironment(name)
    put(raw, path, yamlValue(value))
    sources[path.join('.')] = 'environment'
  }
  for (const setting of inputs.set ?? []) {
    const equals = setting.indexOf('=')
    if (equals < 1) throw new ConfigError(`--set takes key.path=value, not ${setting}`)
    const path = setting.slice(0, equals).split('.')
    put(raw, path, yamlValue(setting.slice(equals + 1)))
    sources[path.join('.')] = 'flag'
  }
  return { config: checkConfig(raw), sources }
}

/** Variables of the command line and of the tests, not of the configuration. */
const foreign: ReadonlySet<string> = new Set([
  'SLUICE_URL',
  'SLUICE_ADMIN',
  'SLUICE_RUNS',
  'SLUICE_SEED',
  'SLUICE_SEEDS',
])

const readYaml = (file: string): Record<string, unknown> => {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(`cannot read ${file}: ${(error as Error).message}`)
  }
  try {
    const value: unknown = parseYaml(text) ?? {}
    if (typeof value !== 'object' || Array.isArray(value)) throw new Error('not a mapping')
    return value as Record<string, unknown>
  } catch (error) {
    throw new ConfigError(`${file}: ${(error as Error).message}`)
  }
}

const yamlValue = (text: string): unknown => {
  try {
    return parseYaml(text) as unknown
  } catch {
    return text
  }
}

/** `SLUICE_DRAIN_LEAVING_MS` → drain.leavingMs. @throws ConfigError when no key is spelled so */
const pathOfEnvironment = (name: string): readonly string[] => {
  const wanted = name.slice('SLUICE_'.length).replaceAll('_', '').toLowerCase()
  const known = allPaths()
  const found = known.find((path) => path.join('').toLowerCase() === wanted)
  if (!found)
    throw new ConfigError(
      unknownKey(
        name,
        wanted,
        known.map((path) => path.join('')),
      ),
    )
  return found
}

const put = (into: Record<string, unknown>, path: readonly string[], value: unknown): void => {
  let at = into
  path.forEach((key, index) => {
    if (index === path.length - 1) at[key] = value
    else at = at[key] = within(at[key] ?? defaultList(path.slice(0, index + 1)), path[index + 1]!)
  })
}

/** `listeners.0.port=…` changes one member of the default list and leaves the others. */
const defaultList = (path: readonly string[]): unknown => {
  const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], checkConfig({}))
  return Array.isArray(value) ? value : undefined
}

/** A copy to write to: neither the file's value nor a default is changed. */
const within = (value: unknown, next: string): Record<string, unknown> => {
  if (Array.isArray(value)) return [...value] as unknown as Record<string, unknown>
  if (typeof value === 'object' && value !== null) return { ...value }
  return (/^\d+$/.test(next) ? [] : {}) as Record<string, unknown>
}

const leaves = (value: unknown, above = ''): string[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, above ? `${above}.${key}` : key))
    : [above]

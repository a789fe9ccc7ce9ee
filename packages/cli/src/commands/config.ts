import { type Config, type ConfigSource, configSchema, loadConfig } from '@sluice/gateway'
import { stringify } from 'yaml'

export interface ConfigFlags {
  readonly config?: string
  readonly set: readonly string[]
  readonly sources?: boolean
  readonly schema?: boolean
  readonly json?: boolean
}

/** The configuration as it would be used, or its JSON Schema. */
export const printConfig = (flags: ConfigFlags): void => {
  if (flags.schema) return void process.stdout.write(`${JSON.stringify(configSchema(), null, 2)}\n`)
  const { config: real, sources } = loadConfig({
    ...(flags.config !== undefined && { file: flags.config }),
    env: process.env,
    set: flags.set,
  })
  const config = withoutSecrets(real)
  if (flags.json) return void process.stdout.write(`${JSON.stringify(flags.sources ? { config, sources } : config)}\n`)
  process.stdout.write(stringify(config))
  if (flags.sources) process.stdout.write(sourceLines(sources))
}

/** What is printed is pasted into tickets. */
const withoutSecrets = (config: Config): Config =>
  config.backend.secret === undefined ? config : { ...config, backend: { ...config.backend, secret: '(secret)' } }

const sourceLines = (sources: Readonly<Record<string, ConfigSource>>): string =>
  Object.entries(sources)
    .map(([path, source]) => `# ${path}: ${source}\n`)
    .join('')

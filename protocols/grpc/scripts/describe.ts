import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

interface Parser {
  Root: new () => {
    loadSync(file: string, options: { keepCase: boolean }): { toJSON(): object }
  }
}

/** The parser that proto-loader itself uses, wherever it is installed. */
const requireOfLoader = createRequire(createRequire(import.meta.url).resolve('@grpc/proto-loader'))

/** The text of src/descriptor.ts. */
export const describeProto = (): string => {
  const { Root } = requireOfLoader('protobufjs') as Parser
  const proto = fileURLToPath(new URL('../proto/messaging.proto', import.meta.url))
  const json = JSON.stringify(new Root().loadSync(proto, { keepCase: true }).toJSON())
  return [
    '// Made of proto/messaging.proto by scripts/descriptor.ts: not edited by hand.',
    '// biome-ignore format: generated',
    `export const descriptor: object = JSON.parse(${JSON.stringify(json).replaceAll("'", "\\'").replace(/^"|"$/g, "'").replaceAll('\\"', '"')})`,
    '',
  ].join('\n')
}

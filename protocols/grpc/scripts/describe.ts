import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

interface MessageDescriptor {
  name: string
  readonly field: readonly { readonly name: string; typeName?: string }[]
  readonly nestedType: readonly MessageDescriptor[]
  readonly options?: { readonly mapEntry?: boolean }
}

interface FileDescriptor {
  name: string
  package?: string
  dependency: readonly string[]
  messageType: readonly MessageDescriptor[]
}

interface Root {
  toJSON(): object
  /** Of the extension below. */
  toDescriptor(syntax: string): { readonly file: FileDescriptor[] }
}

interface Parser {
  Root: new () => { loadSync(files: readonly string[], options: { keepCase: boolean }): Root }
}

interface Descriptors {
  FileDescriptorProto: { encode(file: FileDescriptor): { finish(): Uint8Array } }
}

/** The parser that proto-loader itself uses, wherever it is installed. */
const requireOfLoader = createRequire(createRequire(import.meta.url).resolve('@grpc/proto-loader'))

const files: Readonly<Record<string, string>> = {
  'apache.rocketmq.v2': 'messaging',
  'grpc.health.v1': 'health',
  'grpc.reflection.v1': 'reflection',
}

/** What a file needs of others, as their authors named them: every tool has them built in. */
const dependencies: Readonly<Record<string, readonly string[]>> = {
  'apache.rocketmq.v2': ['google/protobuf/duration.proto', 'google/protobuf/timestamp.proto'],
}

const load = (): Root => {
  const { Root } = requireOfLoader('protobufjs') as Parser
  const paths = Object.values(files).map((name) => fileURLToPath(new URL(`../proto/${name}.proto`, import.meta.url)))
  return new Root().loadSync(paths, { keepCase: true })
}

const literal = (json: string): string =>
  JSON.stringify(json).replaceAll("'", "\\'").replace(/^"|"$/g, "'").replaceAll('\\"', '"')

const head = [
  '// Made of proto/*.proto by scripts/descriptor.ts: not edited by hand.',
  '// biome-ignore format: generated',
]

/** The text of src/descriptor.ts. */
export const describeProto = (): string =>
  [...head, `export const descriptor: object = JSON.parse(${literal(JSON.stringify(load().toJSON()))})`, ''].join('\n')

/** Go insists on the name that a map's entry has by rule: `user_properties` → `UserPropertiesEntry`. */
const nameMaps = (message: MessageDescriptor): void => {
  for (const entry of message.nestedType) {
    const field = entry.options?.mapEntry && message.field.find(({ typeName }) => typeName?.endsWith(entry.name))
    if (!field) continue
    const name = `${field.name.replace(/(^|_)([a-z])/g, (_all, _gap, letter: string) => letter.toUpperCase())}Entry`
    field.typeName = field.typeName?.slice(0, -entry.name.length) + name
    entry.name = name
  }
}

/** The parser makes one file a package, without its imports: back to the files that people wrote. */
const asWritten = (file: FileDescriptor): readonly FileDescriptor[] => {
  const of = file.package ?? ''
  file.messageType.forEach(nameMaps)
  if (of.startsWith('google.')) {
    return file.messageType.map((one) => {
      const name = `${of.replaceAll('.', '/')}/${one.name.toLowerCase()}.proto`
      return Object.assign(Object.create(file), { ...file, name, messageType: [one] })
    })
  }
  return [
    Object.assign(file, { name: `${of.replaceAll('.', '/')}/${files[of]}.proto`, dependency: dependencies[of] ?? [] }),
  ]
}

/** The text of src/reflected.ts: a FileDescriptorProto a file, as server reflection hands them out. */
export const describeFiles = (): string => {
  const { FileDescriptorProto } = requireOfLoader('protobufjs/ext/descriptor') as Descriptors
  const encoded = load()
    .toDescriptor('proto3')
    .file.flatMap(asWritten)
    .map((file) => [file.name, Buffer.from(FileDescriptorProto.encode(file).finish()).toString('base64')])
  return [
    ...head,
    `export const reflected: Readonly<Record<string, string>> = ${JSON.stringify(Object.fromEntries(encoded))}`,
    '',
  ].join('\n')
}

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'

/** Who may import whom, by package name without its scope. What is not here is forbidden. */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  core: [],
  remoting: ['core'],
  governance: ['core'],
  drain: ['core'],
  testkit: ['core'],
  broker: ['core', 'remoting'],
  link: ['core', 'remoting'],
  rocketmq: ['core', 'remoting'],
  'protocol-remoting': ['core', 'remoting'],
  'protocol-grpc': ['core'],
  'protocol-http': ['core'],
  'protocol-mqtt': ['core'],
  'protocol-amqp': ['core'],
  gateway: [
    'core',
    'remoting',
    'governance',
    'drain',
    'broker',
    'link',
    'rocketmq',
    'protocol-remoting',
    'protocol-grpc',
    'protocol-http',
    'protocol-mqtt',
    'protocol-amqp',
  ],
  cli: ['core', 'gateway'],
}

/** What tests may import beside that: the kit, and what the repository installs for tests. */
const testArrows: readonly string[] = ['testkit']
const SCOPE = '@sluice/'

export interface Package {
  /** Without its scope. */
  readonly name: string
  /** Relative to the root: packages/core. */
  readonly folder: string
  readonly dependencies: ReadonlySet<string>
}

export interface Import {
  /** File, relative to the root. */
  readonly file: string
  /** Undefined: a dynamic import of what is not a literal. */
  readonly specifier: string | undefined
}

export interface Violation extends Import {
  readonly why: string
}

interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

export const packagesOf = (root: string): readonly Package[] =>
  ['packages', 'protocols'].flatMap((parent) =>
    readdirSync(join(root, parent)).map((child) => {
      const folder = `${parent}/${child}`
      const { name, dependencies, peerDependencies } = manifestOf(join(root, folder))
      return {
        name: name.replace(SCOPE, ''),
        folder,
        dependencies: new Set(Object.keys({ ...dependencies, ...peerDependencies })),
      }
    }),
  )

/** TypeScript files below a folder, relative to `root`. */
export const sourcesOf = (root: string, folder: string): readonly string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !/node_modules|\/dist(\/|$)/.test(entry.parentPath),
    )
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))

const patterns: readonly RegExp[] = [
  /\b(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/g, // static, re-export, type only
  /\bimport\s*['"]([^'"]+)['"]/g, // for its side effect
  /\bimport\s*\(\s*(?:['"`]([^'"`]+)['"`])?/g, // dynamic; also the type import('…')
  /\brequire\s*\(\s*['"]([^'"]+)['"]/g,
]

/** Everything a source names. Lines that are comments are not looked at. */
export const importsIn = (file: string, source: string): readonly Import[] => {
  const code = source
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/\*|\*)/.test(line))
    .join('\n')
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map(([, specifier]) => ({ file, specifier })))
}

const isTest = (file: string): boolean => file.endsWith('.test.ts') || /^(packages|protocols)\/[^/]+\/test\//.test(file)

/** Every import of the packages and protocols that follows no arrow. */
export const violations = (root: string): readonly Violation[] => {
  const packages = packagesOf(root)
  const installedForTests = new Set(Object.keys(manifestOf(root).devDependencies ?? {}))
  return packages.flatMap((from) => {
    const allowed = arrows[from.name]
    if (!allowed) return [{ file: `${from.folder}/package.json`, specifier: undefined, why: 'package without arrows' }]
    const declared = [...from.dependencies].filter((name) => name.startsWith(SCOPE) && !allowed.includes(bare(name)))
    const inManifest = declared.map((specifier) => ({
      file: `${from.folder}/package.json`,
      specifier,
      why: `${from.name} → ${bare(specifier)} is no arrow`,
    }))
    const inSources = sourcesOf(root, from.folder).flatMap((file) =>
      importsIn(file, readFileSync(join(root, file), 'utf8')).flatMap((one) => {
        const why = judge(one, from, allowed, installedForTests)
        return why === undefined ? [] : [{ ...one, why }]
      }),
    )
    return [...inManifest, ...inSources]
  })
}

const bare = (specifier: string): string => specifier.slice(SCOPE.length)

const judge = (
  { file, specifier }: Import,
  from: Package,
  allowed: readonly string[],
  installedForTests: ReadonlySet<string>,
): string | undefined => {
  if (specifier === undefined) return from.name === 'gateway' || isTest(file) ? undefined : 'imports what is no literal'
  if (specifier.startsWith('node:')) return undefined
  if (specifier.startsWith('.')) {
    const target = normalize(join(dirname(file), specifier))
    return target.startsWith(`${from.folder}/`) ? undefined : `${from.name} leaves its folder`
  }
  if (specifier.startsWith(SCOPE)) {
    const name = bare(specifier)
    if (name.includes('/')) return 'imports from inside a package'
    if (isTest(file) && testArrows.includes(name)) return undefined
    if (!allowed.includes(name)) return `${from.name} → ${name} is no arrow`
    return from.dependencies.has(specifier) ? undefined : `${from.name} does not declare ${specifier}`
  }
  const name = specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : specifier.split('/')[0]!
  if (isTest(file) && installedForTests.has(name)) return undefined
  if (from.name === 'core') return 'core imports nothing from npm'
  return from.dependencies.has(name) ? undefined : `${from.name} does not declare ${name}`
}

import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, join, relative } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = new URL('../..', import.meta.url).pathname

interface Manifest {
  readonly name: string
  readonly version: string
  readonly files?: readonly string[]
  readonly bin?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly devDependencies?: unknown
  readonly private?: boolean
}

/** A package as it would be published. */
export interface Packed {
  readonly name: string
  readonly version: string
  /** What the tarball holds. */
  readonly folder: string
  readonly tarball: string
}

/** Every workspace package. */
export const workspaces = async (): Promise<readonly string[]> => {
  const folders: string[] = []
  for (const parent of ['packages', 'protocols']) {
    for (const child of await readdir(join(root, parent))) folders.push(join(root, parent, child))
  }
  return folders
}

export interface BuildOptions {
  /** Default: all workspaces. Others may be outside of them but inside the repository. */
  readonly folders?: readonly string[]
  /** Where the packages are put together, in `pack` and `tarballs`: inside the repository. Default `out`. Not for two builds at once. */
  readonly out?: string
}

/**
 * Compiles packages to JavaScript with declarations, gives them the manifest they are published with, and packs them.
 * @throws with what the compiler said
 */
export const build = async ({ folders, out = join(root, 'out') }: BuildOptions = {}): Promise<readonly Packed[]> => {
  const all = folders ?? (await workspaces())
  const emitted = await compile(all, out)
  const staged = await Promise.all(all.map((folder) => stage(folder, emitted, out)))
  return pack(staged, out)
}

/** One compiler run for all: the tree of sources as JavaScript. */
const compile = async (folders: readonly string[], out: string): Promise<string> => {
  const tree = join(out, 'pack', '.tree')
  const config = join(out, 'pack', 'tsconfig.json')
  await rm(tree, { recursive: true, force: true })
  await mkdir(join(out, 'pack'), { recursive: true })
  const settings = {
    extends: relative(join(out, 'pack'), join(root, 'tsconfig.json')),
    compilerOptions: { noEmit: false, declaration: true, rootDir: root, outDir: tree },
    include: folders.map((folder) => `${folder}/src`),
    exclude: folders.map((folder) => `${folder}/src/**/*.test.ts`),
  }
  await writeFile(config, JSON.stringify(settings, null, 2))
  try {
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', config], { cwd: root, maxBuffer: 64 * 1024 * 1024 })
  } catch (error) {
    throw new Error(`the sources do not compile\n${(error as { stdout?: string }).stdout ?? String(error)}`)
  }
  return tree
}

const stage = async (source: string, tree: string, out: string): Promise<string> => {
  const manifest = JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as Manifest
  const folder = join(out, 'pack', manifest.name.replace('/', '__').replace('@', ''))
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await cp(join(tree, relative(root, source), 'src'), join(folder, 'dist'), { recursive: true })
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(published(manifest), null, 2)}\n`)
  for (const file of [...(manifest.files ?? []), 'README.md']) {
    if (file !== 'dist') await copyIfThere(join(source, file), join(folder, file))
  }
  await copyIfThere(join(root, 'docs/LICENSE'), join(folder, 'LICENSE'))
  await copyAssets(join(source, 'src'), join(folder, 'dist'))
  await settle(join(folder, 'dist'))
  for (const script of Object.values(published(manifest).bin ?? {})) await makeExecutable(join(folder, script))
  return folder
}

/** Without what only this repository understands: the condition of the sources, the path of the unbuilt command. */
const published = (manifest: Manifest): Manifest => {
  const { devDependencies: _, private: __, ...rest } = manifest
  const exports = Object.fromEntries(
    Object.entries(manifest.exports ?? {}).map(([door, conditions]) => [
      door,
      Object.fromEntries(Object.entries(conditions).filter(([condition]) => condition !== '@sluice/source')),
    ]),
  )
  const bin =
    manifest.bin &&
    Object.fromEntries(
      Object.entries(manifest.bin).map(([name, path]) => [name, path.replace(/^\.\/src\/(.*)\.ts$/, './dist/$1.js')]),
    )
  return { ...rest, exports, ...(bin && { bin }) }
}

/** What stands among the sources and is no source: tables, schemas. */
const copyAssets = async (from: string, to: string): Promise<void> => {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.ts')) continue
    const path = relative(from, join(entry.parentPath, entry.name))
    await cp(join(from, path), join(to, path))
  }
}

/** Declarations name their neighbours by what is there, as the JavaScript does. */
const settle = async (dist: string): Promise<void> => {
  for (const entry of await readdir(dist, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.d.ts')) continue
    const path = join(entry.parentPath, entry.name)
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace(/((?:from|import)\s*\(?\s*['"]\.[^'"]*)\.ts(['"])/g, '$1.js$2'))
  }
}

const makeExecutable = async (script: string): Promise<void> => {
  const text = await readFile(script, 'utf8')
  await writeFile(script, text.replace(/^#!.*/, '#!/usr/bin/env node'))
  await chmod(script, 0o755)
}

const copyIfThere = (from: string, to: string): Promise<void> =>
  cp(from, to, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })

/** A few at once: npm takes most of a second to start. */
const pack = async (folders: readonly string[], out: string): Promise<readonly Packed[]> => {
  const tarballs = join(out, 'tarballs')
  await mkdir(tarballs, { recursive: true })
  const shares = Array.from({ length: availableParallelism() }, (_, share) =>
    folders.filter((__, index) => index % availableParallelism() === share),
  )
  const packed = await Promise.all(
    shares.map(async (share) => {
      if (share.length === 0) return []
      const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', tarballs, ...share]
      const { stdout } = await run('npm', args, { cwd: out, maxBuffer: 64 * 1024 * 1024 })
      return describe(stdout, share, tarballs)
    }),
  )
  return packed.flat().sort((a, b) => (a.name < b.name ? -1 : 1))
}

interface NpmPacked {
  readonly name: string
  readonly version: string
  readonly filename: string
}

/** npm answers a list, or one member a package, by its version. */
const describe = (stdout: string, folders: readonly string[], tarballs: string): Packed[] => {
  const answer = JSON.parse(stdout) as readonly NpmPacked[] | Readonly<Record<string, NpmPacked>>
  return Object.values(answer).map(({ name, version, filename }) => {
    const folder = folders.find((one) => basename(one) === name.replace('/', '__').replace('@', ''))!
    return { name, version, folder, tarball: join(tarballs, filename) }
  })
}

if (import.meta.main) {
  const began = performance.now()
  try {
    for (const { name, version, tarball } of await build()) {
      console.log(`${`${name} ${version}`.padEnd(34)} ${relative(root, tarball)}`)
    }
    console.log(`built in ${((performance.now() - began) / 1000).toFixed(1)} s`)
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 1
  }
}

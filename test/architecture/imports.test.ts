import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { arrows, importsIn, packagesOf, violations } from './graph.ts'

const root = new URL('../..', import.meta.url).pathname

const said = (where: string) => violations(where).map(({ file, specifier, why }) => `${file}: ${specifier} (${why})`)

describe('imports', () => {
  it('follow the arrows', () => {
    expect(said(root)).toEqual([])
  })

  it('are found in every form', () => {
    const source = `
      import a from 'a'
      import { b,
        type B } from "b"
      import * as c from 'c'
      export * from 'd'
      export { e } from 'e'
      import type { F } from 'f'
      import 'g'
      const h = await import('h')
      type I = import('i').I
      const j = require('j')
      // import x from 'x'
      /** import y from 'y' */
      const text = Buffer.from('z')
      await import(name)`
    const found = importsIn('x.ts', source).map(({ specifier }) => specifier)
    expect(found.sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', undefined])
  })
})

describe('a forbidden import', () => {
  const packages = packagesOf(root)
  const folderOf = (name: string) => packages.find((one) => one.name === name)!.folder
  const names = packages.map(({ name }) => name)
  let copy: string
  let seen: readonly string[]

  /** What is planted, and what must be said about it. */
  const plants: { file: string; source: string; why: string }[] = []
  const plant = (from: string, what: string, source: string, why: string, test = false) => {
    const file = `${folderOf(from)}/src/planted-${plants.length}-${what}${test ? '.test' : ''}.ts`
    plants.push({ file, source, why })
  }
  for (const from of names) {
    for (const to of names) {
      if (from === to || arrows[from]!.includes(to)) continue
      plant(from, 'name', `import '@sluice/${to}'`, `${from} → ${to} is no arrow`)
      if (to !== 'testkit') plant(from, 'test', `import '@sluice/${to}'`, `${from} → ${to} is no arrow`, true)
    }
  }
  plant('core', 'npm', "import fastq from 'fastq'", 'core imports nothing from npm')
  plant('core', 'relative', "import '../../broker/src/index.ts'", 'core leaves its folder')
  plant('core', 'reexport', "export * from '@sluice/remoting'", 'core → remoting is no arrow')
  plant('core', 'type', "export type X = import('@sluice/remoting').X", 'core → remoting is no arrow')
  plant('core', 'typeOnly', "import type { X } from '@sluice/remoting'", 'core → remoting is no arrow')
  plant('protocol-mqtt', 'dynamic', "await import('@sluice/broker')", 'protocol-mqtt → broker is no arrow')
  plant('protocol-mqtt', 'computed', 'await import(String(1))', 'imports what is no literal')
  plant('protocol-mqtt', 'sibling', "import '../../amqp/src/index.ts'", 'protocol-mqtt leaves its folder')
  plant('protocol-mqtt', 'deep', "import '@sluice/core/src/model.ts'", 'imports from inside a package')
  plant('protocol-mqtt', 'undeclared', "import 'rhea'", 'protocol-mqtt does not declare rhea')
  plant('gateway', 'up', "import '@sluice/cli'", 'gateway → cli is no arrow')

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'sluice-arrows-'))
    const wanted = (path: string) => !/\/(node_modules|dist|fixtures)(\/|$)/.test(path.slice(root.length - 1))
    cpSync(join(root, 'package.json'), join(copy, 'package.json'))
    for (const parent of ['packages', 'protocols']) {
      cpSync(join(root, parent), join(copy, parent), { recursive: true, filter: wanted })
    }
    for (const { file, source } of plants) writeFileSync(join(copy, file), source)
    seen = violations(copy).map(({ file, why }) => `${file} ${why}`)
  })
  afterAll(() => rmSync(copy, { recursive: true }))

  it('is noticed, whatever its arrow', () => {
    const missed = plants.map(({ file, why }) => `${file} ${why}`).filter((line) => !seen.includes(line))
    expect(missed).toEqual([])
    expect(plants.length).toBeGreaterThan(100)
  })

  it('is noticed in a manifest', () => {
    const path = join(copy, folderOf('core'), 'package.json')
    writeFileSync(path, JSON.stringify({ name: '@sluice/core', dependencies: { '@sluice/broker': '0.1.0' } }))
    expect(said(copy)).toContain('packages/core/package.json: @sluice/broker (core → broker is no arrow)')
  })
})

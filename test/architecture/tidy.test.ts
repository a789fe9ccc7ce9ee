import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packagesOf, sourcesOf } from './graph.ts'

const root = new URL('../..', import.meta.url).pathname
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** The same five files in each protocol. Libraries own the bytes of gRPC and HTTP: `server.ts` stands there for the codec. */
const serverInsteadOfCodec: ReadonlySet<string> = new Set(['grpc', 'http'])
const mirror = (protocol: string): readonly string[] => [
  serverInsteadOfCodec.has(protocol) ? 'server.ts' : 'codec.ts',
  'translate.ts',
  'conversation.ts',
  'faults.ts',
  'index.ts',
]

const LINES_MAX = 500
/** Sources that are longer, with the reason; the number may only go down. */
const longer: Readonly<Record<string, { readonly lines: number; readonly why: string }>> = {}

const sources = packagesOf(root).flatMap(({ folder }) => sourcesOf(root, folder))
const everything = [...sources, ...sourcesOf(root, 'test')]

describe('tidy', () => {
  it.each(readdirSync(join(root, 'protocols')))('protocols/%s has the files of its siblings', (protocol) => {
    const missing = mirror(protocol).filter((file) => !existsSync(join(root, 'protocols', protocol, 'src', file)))
    expect(missing).toEqual([])
    const index = read(`protocols/${protocol}/src/index.ts`)
    expect(index).toMatch(new RegExp(`^export default (function )?${protocol}\\b`, 'm'))
    expect(index).toMatch(new RegExp(`^export (const |function |default function |{ )${protocol}\\b`, 'm'))
  })

  it('no source is longer than it should be', () => {
    const long = sources.flatMap((file) => {
      if (!/\/src\//.test(file) || file.endsWith('.test.ts')) return []
      const lines = read(file).split('\n').length - 1
      return lines > (longer[file]?.lines ?? LINES_MAX) ? [`${file}: ${lines} lines`] : []
    })
    expect(long).toEqual([])
    const shrunk = Object.keys(longer).filter((file) => read(file).split('\n').length - 1 <= LINES_MAX)
    expect(shrunk, 'short enough by now: take them off the list').toEqual([])
  })

  it('nothing is left for later, no test is left out', () => {
    const later = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`)
    const leftOut = /\b(?:it|test|describe|suite)(?:\.\w+)*\.(?:only|skip|todo|fails|skipIf|runIf)\b/
    const found = everything.flatMap((file) =>
      read(file)
        .split('\n')
        .flatMap((line, index) =>
          later.test(line) || leftOut.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [],
        ),
    )
    expect(found).toEqual([])
  })

  it('no source silences the compiler', () => {
    const silent = /@ts-(ignore|nocheck|expect-error)/
    expect(sources.filter((file) => silent.test(read(file)))).toEqual([])
  })
})

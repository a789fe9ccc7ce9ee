import { readFileSync } from 'node:fs'
import { contractChecks } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { lineDriver } from './driver.ts'
import lines from './lines/src/index.ts'

const root = new URL('../..', import.meta.url).pathname
const page = readFileSync(`${root}docs/plugins.md`, 'utf8')
const excerpts = [...page.matchAll(/<!-- (\S+) -->\n```\w+\n(.*?)```/gs)].map(
  ([, file, text]) => [file!, text!] as const,
)

describe('docs/plugins.md', () => {
  it.each(excerpts)('shows %s as it is', (file, text) => {
    expect(readFileSync(`${root}${file}`, 'utf8')).toContain(text)
  })

  it('has excerpts, and says how many checks there are', () => {
    expect(excerpts.length).toBeGreaterThanOrEqual(6)
    const said = Number(/: (\d+) checks of publish/.exec(page)?.[1])
    expect(contractChecks(lineDriver(lines))).toHaveLength(said)
  })
})

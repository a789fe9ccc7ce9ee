import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Case, versions } from './case.ts'
import { cases } from './cases/index.ts'
import { breakable, refusals, untestable } from './coverage.ts'
import { type Gateways, startGateways } from './gateways.ts'
import { play } from './play.ts'
import { statements } from './statements.ts'

/** Cases at a time. */
const AT_ONCE = 96
/** Of a test; a case has its own. */
const LIMIT_MS = 20_000
/** Of a case's step when it has to notice a planted fault. */
const MUTANT_MS = 3_000

const nameOf = ({ version, name }: Case): string => `${version === 5 ? '5.0' : '3.1.1'}: ${name}`

/** With a planted fault only the case that has to notice it is played. */
const mutant = process.env.SLUICE_MUTANT
const only = mutant ? (JSON.parse(mutant) as { test: string }).test : undefined
const wanted = cases.filter((one) => only === undefined || nameOf(one).endsWith(only))

let gateways: Gateways
const results = new Map<Case, Promise<void>>()

beforeAll(async () => {
  gateways = await startGateways()
  let free = AT_ONCE
  const waiting: (() => void)[] = []
  const turn = () => (free > 0 ? void free-- : new Promise<void>((resolve) => waiting.push(resolve)))
  for (const one of wanted) {
    const result = (async () => {
      await turn()
      await play(one, gateways.ports, only === undefined ? undefined : MUTANT_MS).finally(() => {
        const next = waiting.shift()
        if (next) next()
        else free++
      })
    })()
    result.catch(() => undefined)
    results.set(one, result)
  }
})
afterAll(() => gateways?.close())

describe('MQTT sequences', () => {
  for (const one of wanted) it(nameOf(one), () => results.get(one), LIMIT_MS)

  it('have names of their own', () => {
    expect(new Set(cases.map(nameOf)).size).toBe(cases.length)
  })
})

describe('numbered statements', () => {
  const idsOf = (version: number, kind?: Case['kind']) =>
    new Set(cases.flatMap((one) => (one.version === version && (one.kind === kind || !kind) ? one.ids : [])))

  it.each(versions)('of version %i have a case each, or a reason why not', (version) => {
    const played = idsOf(version)
    const excused = Object.keys(untestable[version])
    expect([...played].filter((id) => !statements[version].includes(id))).toEqual([])
    expect(excused.filter((id) => played.has(id))).toEqual([])
    expect(statements[version].filter((id) => !played.has(id))).toEqual(excused)
  })

  it.each(versions)('of version %i have a positive case, where there is one', (version) => {
    const played = idsOf(version, 'positive')
    const without = statements[version].filter((id) => !played.has(id) && !(id in untestable[version]))
    expect(without).toEqual(refusals[version])
  })

  it.each(versions)('of version %i that a client can break have a negative case', (version) => {
    const played = idsOf(version, 'negative')
    expect(breakable[version].filter((id) => !played.has(id))).toEqual([])
  })

  it('are played by a thousand cases and more', () => {
    expect(cases.length).toBeGreaterThan(1_000)
  })
})

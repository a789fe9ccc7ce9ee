import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Case } from './case.ts'
import { cases } from './cases/index.ts'
import { type Gateways, startGateways } from './gateways.ts'
import { play } from './play.ts'

/** Cases at a time. */
const AT_ONCE = 96

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
      await play(one, gateways.ports).finally(() => {
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
  for (const one of wanted) it(nameOf(one), () => results.get(one))

  it('have names of their own', () => {
    expect(new Set(cases.map(nameOf)).size).toBe(cases.length)
  })
})

import { describe, expect, it } from 'vitest'
import { Fault } from '../model.ts'
import { compileFilter, isOpen } from './filter.ts'

const tags = (expression: string) => ({ kind: 'tag', expression }) as const
const takes = (expression: string) => {
  const matches = compileFilter(tags(expression))
  return ['A', 'B', 'C', undefined].filter((tag) => matches({ ...(tag && { tag }), properties: {} }))
}
const fault = (run: () => unknown) => {
  try {
    run()
  } catch (error) {
    return Fault.is(error) ? [error.code, error.about] : error
  }
  return undefined
}

describe('filter', () => {
  it('of nothing, a star or blanks lets everything through', () => {
    const all = ['A', 'B', 'C', undefined]
    expect(compileFilter(undefined)({ properties: {} })).toBe(true)
    for (const open of ['*', '', ' * ', '  ']) {
      expect([takes(open), isOpen(tags(open))]).toEqual([all, true])
    }
    expect(takes('A || *')).toEqual(all)
    expect(isOpen(undefined)).toBe(true)
    expect(isOpen({ kind: 'sql92', expression: '' })).toBe(false)
  })

  it('of tags takes those, exactly', () => {
    expect(takes('A')).toEqual(['A'])
    expect(takes(' A||C ')).toEqual(['A', 'C'])
    expect(takes('AB')).toEqual([])
    expect(isOpen(tags('A'))).toBe(false)
  })

  it('that is no list of tags is refused', () => {
    for (const bad of ['A||', '||A', 'A|| ||B', 'A B', '||', 'A||B C'])
      expect(fault(() => compileFilter(tags(bad)))).toEqual(['invalid', 'filter'])
  })

  it('of SQL92 is compiled, and what is none is refused', () => {
    const sql = (expression: string) => ({ kind: 'sql92', expression }) as const
    expect(compileFilter(sql('a = 1'))({ properties: { a: '1' } })).toBe(true)
    expect(compileFilter(sql('a = 1'))).toBe(compileFilter(sql('a = 1')))
    for (const bad of ['', ' ', '*', 'a =', 'a || b'])
      expect(fault(() => compileFilter(sql(bad)))).toEqual(['invalid', 'filter'])
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { effort } from '../../test/effort.ts'
import { Fault } from '../model.ts'
import { checkPattern, LEVELS_MAX, PatternTrie } from './topics.ts'

/** MQTT 5.0 §4.7 as it reads, without a trie. */
const naive = (pattern: string, topic: string): boolean => {
  if (topic.startsWith('$') && /^[+#]/.test(pattern)) return false
  const source = pattern.split('/').map((level) => {
    if (level === '#') return '#'
    return level === '+' ? '[^/]*' : level.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  const joined = source.join('/')
  const expression = joined === '#' ? '.*' : joined.endsWith('/#') ? `${joined.slice(0, -2)}(/.*)?` : joined
  return new RegExp(`^${expression}$`, 's').test(topic)
}

const level = fc.constantFrom('a', 'b', '', '$s', 'long level')
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'))
const pattern = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean(), fc.boolean())
  .map(([levels, rest, only]) => (only && rest ? '#' : levels.join('/') + (rest ? '/#' : '')))
  .filter((one) => one !== '')

const matching = (trie: PatternTrie<string>, of: string): string[] => {
  const found: string[] = []
  trie.match(of, (value) => void found.push(value))
  return found.sort()
}

describe('patterns', () => {
  it('match as the specification reads', () => {
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { maxLength: 12 }), topic, (patterns, of) => {
        const trie = new PatternTrie<string>()
        for (const one of patterns) {
          checkPattern(one)
          trie.add(one, one)
        }
        expect(matching(trie, of)).toEqual(patterns.filter((one) => naive(one, of)).sort())
      }),
      { numRuns: 10_000 },
    )
  })

  it('keep $-topics from wildcards at the first level only', () => {
    const trie = new PatternTrie<string>()
    for (const one of ['#', '+', '+/x', '$SYS/#', '$SYS/+', '$SYS/x', '$SYS']) trie.add(one, one)
    expect(matching(trie, '$SYS/x')).toEqual(['$SYS/#', '$SYS/+', '$SYS/x'])
    expect(matching(trie, '$SYS')).toEqual(['$SYS', '$SYS/#'])
    expect(matching(trie, 'x')).toEqual(['#', '+'])
  })

  it('that come and go leave nothing, and those that stay still match', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(pattern, fc.nat(2), fc.boolean()), { maxLength: 40 }), topic, (steps, of) => {
        const trie = new PatternTrie<string>()
        const there = new Set<string>()
        for (const [one, number, add] of steps) {
          const value = `${one} ${number}`
          if (add) {
            trie.add(one, value)
            there.add(value)
          } else expect(trie.remove(one, value)).toBe(there.delete(value))
        }
        const expected = [...there].filter((value) => naive(value.slice(0, value.lastIndexOf(' ')), of))
        expect(matching(trie, of)).toEqual(expected.sort())
        for (const value of there) trie.remove(value.slice(0, value.lastIndexOf(' ')), value)
        expect(trie.empty).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })

  it('a value under several patterns comes several times', () => {
    const trie = new PatternTrie<string>()
    for (const one of ['a/#', 'a/+', '+/b']) trie.add(one, 'v')
    expect(matching(trie, 'a/b')).toEqual(['v', 'v', 'v'])
  })

  it('cost a match the topic’s levels, not their number', async () => {
    const trie = new PatternTrie<number>()
    for (let index = 0; index < 100_000; index++) trie.add(`devices/${index}/+/state/#`, index)
    const found: number[] = []
    const spent = await effort(() => {
      for (let round = 0; round < 1_000; round++)
        trie.match(`devices/${round}/x/state/on`, (value) => found.push(value))
    })
    expect(spent).toBeLessThan(500)
    expect(found.length).toBe(1_000)
  })

  it('that are none are refused, with the reason', () => {
    const reason = (one: string) => {
      try {
        checkPattern(one)
        return undefined
      } catch (error) {
        return Fault.is(error) && error.about === 'pattern' ? error.message : error
      }
    }
    expect(reason('')).toBe('pattern is empty')
    for (const bad of ['a/#/b', '#/a', 'a#', 'a/b#', '##']) expect(reason(bad)).toBe('pattern has # before its end')
    for (const bad of ['a+', '+a', 'a/b+/c', '++']) expect(reason(bad)).toBe('pattern has + beside other characters')
    expect(reason(Array.from({ length: LEVELS_MAX }, () => 'a').join('/'))).toBeUndefined()
    expect(reason(Array.from({ length: LEVELS_MAX + 1 }, () => 'a').join('/'))).toBe('pattern has over 128 levels')
  })
})

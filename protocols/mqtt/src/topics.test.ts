import { Fault, joinPath, PatternTrie } from '@sluice/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeLevel,
  encodeLevel,
  fromPlace,
  isName,
  isOpen,
  isSystem,
  nameOf,
  readShare,
  toPattern,
  toPlace,
} from './topics.ts'

const numRuns = Number(process.env.SLUICE_RUNS ?? 10_000)
const LEGAL = /^[%|a-zA-Z0-9_-]{1,127}$/
/** Levels that are the broker's, nearly the broker's, and not at all. */
const level = fc.oneof(
  fc.stringMatching(/^[%|a-zA-Z0-9_-]{0,6}$/),
  fc.stringMatching(/^(MQTT%)?[%$ .A-F0-9äÄ\u{1f600}-]{0,5}$/u),
  fc.constantFrom(
    '',
    '$SYS',
    'MQTT%',
    'MQTT%%24SYS',
    'MQTT%%-',
    'a b',
    'ä',
    'x'.repeat(127),
    'x'.repeat(128),
    'ß'.repeat(60),
  ),
)

describe('the first level', () => {
  it('is itself where the broker allows it', () => {
    for (const name of ['orders', 'a-b_c|d', '50%', 'a%25', 'MQTT']) expect(encodeLevel(name)).toBe(name)
  })

  it('is escaped where it does not', () => {
    expect(encodeLevel('')).toBe('MQTT%')
    expect(encodeLevel('%RETRY%g')).toBe('MQTT%%25RETRY%25g') // the broker's own topics are out of reach
    expect(encodeLevel('$SYS')).toBe('MQTT%%24SYS')
    expect(encodeLevel('a.b c')).toBe('MQTT%a%2Eb%20c')
    expect(encodeLevel('ü')).toBe('MQTT%%C3%BC')
    expect(encodeLevel('MQTT%')).toBe('MQTT%MQTT%25')
    expect(encodeLevel('ü'.repeat(60))).toMatch(/^MQTT%%-[0-9a-f]{64}$/)
  })

  it('has a topic of its own, which the broker allows, and comes back', () => {
    fc.assert(
      fc.property(level, level, (one, other) => {
        const topic = encodeLevel(one)
        expect(topic).toMatch(LEGAL)
        if (!topic.startsWith('MQTT%%-')) expect(decodeLevel(topic)).toBe(one)
        expect(topic === encodeLevel(other)).toBe(one === other)
      }),
      { numRuns },
    )
  })

  it('is the topic itself where nobody would have written it so', () => {
    for (const topic of ['MQTT%%2', 'MQTT%%zz', 'MQTT%%2f', 'MQTT%a', 'MQTT%%41', 'MQTT%%FF'])
      expect(decodeLevel(topic)).toBe(topic)
  })
})

/** MQTT 4.7, written down once more and slowly. */
const matches = (filter: string, name: string): boolean => {
  const pattern = filter.split('/')
  const levels = name.split('/')
  if (name.startsWith('$') && /^[+#]/.test(filter)) return false
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '#') return levels.length >= at
    if (at >= levels.length || (pattern[at] !== '+' && pattern[at] !== levels[at])) return false
  }
  return pattern.length === levels.length
}

describe('a whole topic', () => {
  const rest = fc.array(fc.constantFrom('', 'a', 'b', '$x', 'ä b'), { maxLength: 3 })
  const name = fc
    .tuple(level, rest)
    .map(([first, others]) => [first, ...others].join('/'))
    .filter((text) => text !== '')
  const filter = fc
    .tuple(
      fc.oneof(level, fc.constant('+')),
      fc.array(fc.constantFrom('', 'a', 'b', '+', '$x'), { maxLength: 3 }),
      fc.boolean(),
    )
    .map(([first, others, all]) => [first, ...others, ...(all ? ['#'] : [])].join('/'))
    .filter((text) => text !== '')

  it('comes back from where it was stored', () => {
    fc.assert(
      fc.property(name, (text) => void expect(fromPlace(toPlace(text))).toBe(text)),
      { numRuns },
    )
  })

  it('is matched where it is stored as MQTT would match it', () => {
    fc.assert(
      fc.property(fc.oneof(filter, fc.constantFrom('#', '+/#', '$SYS/#')), name, (pattern, text) => {
        const trie = new PatternTrie<true>()
        trie.add(toPattern(pattern), true)
        const { topic, path } = toPlace(text)
        let found = false
        trie.match(joinPath(topic, path), () => (found = true))
        // The broker does not know that an escaped topic begins with $: deliveries are looked at once more.
        expect(found && !(isSystem(text) && isOpen(toPattern(pattern)))).toBe(matches(pattern, text))
      }),
      { numRuns },
    )
  })

  it('has at most 128 levels', () => {
    expect(toPlace('a/'.repeat(127)).path).toHaveLength(252)
    for (const call of [() => toPlace('a/'.repeat(128)), () => toPattern('a/'.repeat(128))]) expect(call).toThrow(Fault)
  })
})

describe('the name of a place', () => {
  it('is what a PUBLISH can say of it, however often and in whatever company it is asked for', () => {
    const text = fc.oneof(level, fc.constantFrom('+', 'a#', 'a\0', '\ud800', 'x'.repeat(70_000), 'a/b'))
    const some = fc.option(text, { nil: undefined })
    const place = fc.record({ topic: text, path: some, level: fc.option(text, { nil: undefined, freq: 10 }) })
    fc.assert(
      fc.property(fc.array(place, { maxLength: 5 }), (places) => {
        for (const { topic, path, level: own } of [...places, ...places]) {
          const name = joinPath(own ?? decodeLevel(topic), path)
          expect(nameOf(topic, path, own)).toBe(isName(name) ? name : undefined)
        }
      }),
      { numRuns: Math.min(numRuns, 2_000) },
    )
  })
})

describe('filters', () => {
  it('keep wildcards and write literal levels as topics', () => {
    expect(['#', '+', '+/a', '$SYS/#', '/a', 'known/+/x'].map(toPattern)).toEqual([
      '#',
      '+',
      '+/a',
      'MQTT%%24SYS/#',
      'MQTT%/a',
      'known/+/x',
    ])
  })

  it('that are none are refused', () => {
    for (const filter of ['', 'a#', 'a+/b', '#/a', 'a/#/b']) {
      expect(() => toPattern(filter)).toThrow(expect.objectContaining({ code: 'invalid', about: 'pattern' }) as Error)
    }
    for (const filter of ['$share', '$share/x', '$share//a', '$share/a+/b', '$share/a/']) {
      expect(() => readShare(filter)).toThrow(expect.objectContaining({ code: 'invalid', about: 'pattern' }) as Error)
    }
    expect(readShare('$share/g/+/x')).toEqual({ share: 'g', filter: '+/x' })
    expect(readShare('$shared/x')).toEqual({ filter: '$shared/x' })
  })
})

import { both, breaks, type Case, get, join, rejects, send, works } from '../case.ts'
import {
  type AckType,
  ack,
  bytes,
  connect,
  disconnect,
  prop,
  publish,
  subscribe,
  text,
  unsubscribe,
  user,
  type Version,
} from '../packets.ts'

/** What is no UTF-8, and the one character that no text may have. */
const bad: readonly (readonly [string, Buffer])[] = [
  ['a lone continuation byte', bytes(0x61, 0x80, 0x62)],
  ['NUL in two bytes', bytes(0x61, 0xc0, 0x80)],
  ['a slash in two bytes', bytes(0xc0, 0xaf)],
  ['a slash in three bytes', bytes(0xe0, 0x80, 0xaf)],
  ['the first surrogate', bytes(0xed, 0xa0, 0x80)],
  ['the last surrogate', bytes(0xed, 0xbf, 0xbf)],
  ['a pair of surrogates', bytes(0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80)],
  ['a character above U+10FFFF', bytes(0xf4, 0x90, 0x80, 0x80)],
  ['half a character of two bytes', bytes(0x61, 0xc3)],
  ['half a character of three bytes', bytes(0xe2, 0x82)],
  ['a character of five bytes', bytes(0xf8, 0x88, 0x80, 0x80, 0x80)],
  ['the byte FF', bytes(0x61, 0xff)],
]
const nul: readonly (readonly [string, Buffer])[] = [
  ['U+0000 alone', bytes(0)],
  ['U+0000 in the middle', bytes(0x61, 0, 0x62)],
]

interface Field {
  readonly name: string
  readonly ids4: readonly string[] | undefined
  readonly ids5: readonly string[]
  readonly connect?: true
  readonly codes?: readonly number[]
  readonly packet: (version: Version, value: Buffer, n: string) => Buffer
}

const inConnect: readonly Field[] = [
  {
    name: 'the client id',
    ids4: ['3.1.3-4'],
    ids5: ['3.1.3-4'],
    connect: true,
    codes: [0x81, 0x82, 0x85],
    packet: (version, value) => connect(version, value),
  },
  {
    name: 'the will topic',
    ids4: ['3.1.3-10'],
    ids5: ['3.1.3-11'],
    connect: true,
    codes: [0x81, 0x82, 0x90],
    packet: (version, value, n) => connect(version, n, { will: { topic: value } }),
  },
  {
    name: 'the user name',
    ids4: ['3.1.3-11'],
    ids5: ['3.1.3-12'],
    connect: true,
    packet: (version, value, n) => connect(version, n, { user: value }),
  },
]
const inOthers: readonly Field[] = [
  {
    name: 'a topic name',
    ids4: ['3.3.2-1'],
    ids5: ['3.3.2-1'],
    codes: [0x81, 0x82, 0x90],
    packet: (version, value) => publish(version, value, { qos: 1 }),
  },
  {
    name: 'a topic filter',
    ids4: ['3.8.3-1'],
    ids5: ['3.8.3-1'],
    codes: [0x81, 0x82, 0x8f],
    packet: (version, value) => subscribe(version, [[value, 0]]),
  },
  {
    name: 'a topic filter of UNSUBSCRIBE',
    ids4: ['3.10.3-1'],
    ids5: ['3.10.3-1'],
    codes: [0x81, 0x82, 0x8f],
    packet: (version, value) => unsubscribe(version, [value]),
  },
]

const acksOf: readonly AckType[] = ['puback', 'pubrec', 'pubrel', 'pubcomp']
type With = (version: Version, all: readonly Buffer[], n: string) => Buffer
const places: readonly (readonly [name: string, connect: boolean, make: With])[] = [
  ['CONNECT', true, (version, all, n) => connect(version, n, { properties: all })],
  ['a will', true, (version, all, n) => connect(version, n, { will: { topic: 'seq/will', properties: all } })],
  ['PUBLISH', false, (version, all) => publish(version, 'seq/text', { qos: 1, properties: all })],
  ...acksOf.map(
    (type) =>
      [type.toUpperCase(), false, (_, all) => ack(type, 1, 0, all)] as const satisfies readonly [string, boolean, With],
  ),
  ['SUBSCRIBE', false, (version, all) => subscribe(version, [['seq/text', 0]], 1, all)],
  ['UNSUBSCRIBE', false, (version, all) => unsubscribe(version, ['seq/text'], 1, all)],
  ['DISCONNECT', false, (_, all) => disconnect(0, all)],
]
const properties: readonly (readonly [string, number, readonly string[], readonly string[]])[] = [
  ['the content type', 0x03, ['PUBLISH', 'a will'], ['3.3.2-19']],
  ['the response topic', 0x08, ['PUBLISH', 'a will'], ['3.3.2-13']],
  ['the authentication method', 0x15, ['CONNECT'], []],
  ['the reason string', 0x1f, [...acksOf.map((type) => type.toUpperCase()), 'DISCONNECT'], []],
]
const inProperties: readonly Field[] = places.flatMap(([place, isConnect, make]): readonly Field[] => {
  const field = (name: string, ids5: readonly string[], value: (raw: Buffer) => Buffer): Field => ({
    name: `${name} of ${place}`,
    ids4: undefined,
    ids5,
    codes: [0x81, 0x82, 0x90],
    ...(isConnect && { connect: true }),
    packet: (version, raw, n) => make(version, [value(raw)], n),
  })
  return [
    field('the name of a user property', ['1.5.7-1'], (raw) => user(raw, 'v')),
    field('the value of a user property', ['1.5.7-1'], (raw) => user('n', raw)),
    ...properties
      .filter(([, , where]) => where.includes(place))
      .map(([name, id, , ids]) => field(name, ids, (raw) => prop(id, text(raw)))),
  ]
})

const negative = both((version) =>
  [...inConnect, ...inOthers, ...inProperties].flatMap(({ name, ids4, ids5, packet, codes, connect: isConnect }) => {
    const own = version === 4 ? ids4 : ids5
    if (!own) return []
    const make = isConnect ? rejects : breaks
    const cases = (list: typeof bad, base: string, more: readonly string[]) =>
      list.map(([what, raw]) =>
        make(version, [base, ...more, ...own], `${what} in ${name}`, (n: string) => packet(version, raw, n), codes),
      )
    const topic = name.includes('topic')
    return [
      ...cases(bad, version === 5 ? '1.5.4-1' : '1.5.3-1', []),
      ...cases(nul, version === 5 ? '1.5.4-2' : '1.5.3-2', topic ? ['4.7.3-2'] : []),
    ]
  }),
)

const fine: readonly (readonly [string, string])[] = [
  ['ASCII', 'a~ b'],
  ['two bytes', 'ü\u07ff'],
  ['three bytes', '€\ud7ff\ue000'],
  ['four bytes', '😀\u{10fffd}'],
  ['U+FEFF at the beginning', '\ufeffx'],
  ['U+FEFF in the middle', 'x\ufeffy'],
  ['a letter and its accent apart', 'e\u0301'],
  ['the same in one', '\u00e9'],
]
const positive = both((version) =>
  fine.flatMap(([what, value]) => [
    works(
      version,
      version === 5
        ? ['1.5.4-1', '1.5.4-2', '3.3.2-1', '3.8.3-1', '4.7.3-4', ...(value.includes('\ufeff') ? ['1.5.4-3'] : [])]
        : ['1.5.3-1', '1.5.3-2', '3.3.2-1', '3.8.3-1', '4.7.3-4', ...(value.includes('\ufeff') ? ['1.5.3-3'] : [])],
      `a topic with ${what} arrives as it was`,
      (n) => [
        join('a', n),
        send('a', subscribe(version, [[`seq/${n}/${value}`, 0]])),
        get('a', { type: 'suback', codes: [0] }),
        send('a', publish(version, `seq/${n}/${value}`, { payload: value })),
        get('a', { type: 'publish', topic: `seq/${n}/${value}`, payload: value }),
      ],
    ),
    works(
      version,
      version === 5 ? ['1.5.4-1', '3.1.3-4', '3.1.3-12', '3.1.3-2'] : ['1.5.3-1', '3.1.3-4', '3.1.3-11', '3.1.3-2'],
      `a client id and a user name with ${what}`,
      (n) => [
        join('a', `${n}${value}`, {
          clean: false,
          user: value,
          ...(version === 5 && { properties: [prop(0x11, bytes(0, 0, 0, 60))] }),
        }),
        join('b', `${n}${value}`, { clean: false, user: value }, { present: true }),
      ],
    ),
    ...(version === 5
      ? [
          works(
            5,
            ['1.5.7-1', '1.5.4-1', '3.3.2-19', '3.3.2-20', '3.3.2-17'],
            `properties with ${what} arrive as they were`,
            (n) => [
              join('a', n),
              send('a', subscribe(5, [[`seq/${n}`, 0]])),
              get('a', { type: 'suback', codes: [0] }),
              send(
                'a',
                publish(5, `seq/${n}`, {
                  properties: [prop(3, text(value)), user(value, value), prop(8, text(`seq/${value}`))],
                }),
              ),
              get('a', { type: 'publish', properties: { 3: [value], 38: [[value, value]], 8: [`seq/${value}`] } }),
            ],
          ),
        ]
      : []),
  ]),
)

export const texts: readonly Case[] = [...negative, ...positive]

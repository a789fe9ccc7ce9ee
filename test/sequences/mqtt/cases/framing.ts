import { both, breaks, type Case, closed, fails, get, join, rejects, send, works } from '../case.ts'
import {
  ack,
  bytes,
  connect,
  disconnect,
  packet,
  pingreq,
  publish,
  subscribe,
  text,
  u16,
  unsubscribe,
  type Version,
} from '../packets.ts'

interface Kind {
  readonly name: string
  readonly first: number
  /** The right four bits. */
  readonly flags: number
  /** With the right ones a packet. */
  readonly whole: (version: Version) => Buffer
  readonly ids: Readonly<Record<Version, readonly string[]>>
}

const kinds: readonly Kind[] = [
  { name: 'PUBACK', first: 0x40, flags: 0, whole: () => ack('puback', 1), ids: { 4: [], 5: [] } },
  { name: 'PUBREC', first: 0x50, flags: 0, whole: () => ack('pubrec', 1), ids: { 4: [], 5: [] } },
  { name: 'PUBREL', first: 0x60, flags: 2, whole: () => ack('pubrel', 1), ids: { 4: ['3.6.1-1'], 5: ['3.6.1-1'] } },
  { name: 'PUBCOMP', first: 0x70, flags: 0, whole: () => ack('pubcomp', 1), ids: { 4: [], 5: [] } },
  {
    name: 'SUBSCRIBE',
    first: 0x80,
    flags: 2,
    whole: (version) => subscribe(version, [['seq/f', 0]]),
    ids: { 4: ['3.8.1-1'], 5: ['3.8.1-1'] },
  },
  {
    name: 'UNSUBSCRIBE',
    first: 0xa0,
    flags: 2,
    whole: (version) => unsubscribe(version, ['seq/f']),
    ids: { 4: ['3.10.1-1'], 5: ['3.10.1-1'] },
  },
  { name: 'PINGREQ', first: 0xc0, flags: 0, whole: () => pingreq, ids: { 4: [], 5: [] } },
  { name: 'DISCONNECT', first: 0xe0, flags: 0, whole: () => disconnect(), ids: { 4: ['3.14.1-1'], 5: ['3.14.1-1'] } },
]

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at)
const withFirst = (whole: Buffer, first: number): Buffer => Buffer.concat([bytes(first), whole.subarray(1)])

const wrongFlags = both((version) => [
  ...kinds.flatMap(({ name, first, flags, whole, ids }) =>
    upTo(16)
      .filter((bits) => bits !== flags)
      .map((bits) =>
        breaks(
          version,
          [...(version === 5 ? ['2.1.3-1', '4.13.1-1'] : ['2.2.2-1', '2.2.2-2', '4.8.0-1']), ...ids[version]],
          `${name} with the flags ${bits}`,
          () => withFirst(whole(version), first | bits),
        ),
      ),
  ),
  ...upTo(16)
    .slice(1)
    .map((bits) =>
      fails(version, version === 5 ? ['2.1.3-1'] : ['2.2.2-1', '2.2.2-2'], `CONNECT with the flags ${bits}`, (n) => [
        send('a', connect(version, n, { first: 0x10 | bits })),
        closed('a'),
      ]),
    ),
])

const serverPackets: readonly (readonly [string, Buffer])[] = [
  ['type 0', bytes(0x00, 0)],
  ['CONNACK', bytes(0x20, 2, 0, 0)],
  ['CONNACK of 5', bytes(0x20, 3, 0, 0, 0)],
  ['SUBACK', bytes(0x90, 3, 0, 1, 0)],
  ['SUBACK of 5', bytes(0x90, 4, 0, 1, 0, 0)],
  ['UNSUBACK', bytes(0xb0, 2, 0, 1)],
  ['UNSUBACK of 5', bytes(0xb0, 4, 0, 1, 0, 0)],
  ['PINGRESP', bytes(0xd0, 0)],
]
const notForServers = both((version) => [
  ...serverPackets.map(([name, raw]) =>
    breaks(version, version === 5 ? ['4.13.1-1', '4.13.2-1'] : ['4.8.0-1'], `${name} from a client`, () => raw),
  ),
  ...(version === 4 ? [breaks(4, ['4.8.0-1'], 'type 15 from a client', () => bytes(0xf0, 0))] : []),
])

const firstOthers: readonly (readonly [string, (version: Version) => Buffer])[] = [
  ...serverPackets.map(([name, raw]) => [name, () => raw] as const),
  ['PUBLISH', (version) => publish(version, 'seq/first')],
  ['PUBLISH with QoS 1', (version) => publish(version, 'seq/first', { qos: 1 })],
  ['PUBLISH with QoS 2', (version) => publish(version, 'seq/first', { qos: 2 })],
  ...kinds.map(({ name, whole }) => [name, whole] as const),
  ['AUTH', () => bytes(0xf0, 2, 0x18, 0)],
]
const notFirst = both((version) =>
  firstOthers.map(([name, raw]) =>
    fails(version, ['3.1.0-1'], `${name} before CONNECT gets no answer`, () => [send('a', raw(version)), closed('a')]),
  ),
)

const second = both((version) =>
  (['the same', 'another client', 'another version'] as const).map((what) =>
    breaks(
      version,
      ['3.1.0-2'],
      `a second CONNECT: ${what}`,
      (n) => connect(what === 'another version' ? (version === 5 ? 4 : 5) : version, what === 'the same' ? n : `${n}x`),
      [0x82],
    ),
  ),
)

const longWays = [1, 2, 3].map((extra) => ({ extra, what: `${extra} byte${extra > 1 ? 's' : ''} too long` }))
const withLength = (whole: Buffer, length: Buffer): Buffer =>
  Buffer.concat([whole.subarray(0, 1), length, whole.subarray(2)])
const padded = (value: number, extra: number): Buffer =>
  Buffer.concat([bytes(value | 0x80), Buffer.alloc(extra - 1, 0x80), bytes(0)])

const lengths: readonly Case[] = [
  ...[...kinds, publishKind()].flatMap(({ name, whole }) =>
    longWays.map(({ extra, what }) =>
      breaks(5, ['1.5.5-1', '4.13.1-1'], `the length of ${name} is ${what}`, () => {
        const raw = whole(5)
        return withLength(raw, padded(raw[1]!, extra))
      }),
    ),
  ),
  ...both((version) =>
    [...kinds, publishKind()].map(({ name, whole }) =>
      breaks(
        version,
        version === 5 ? ['1.5.5-1', '4.13.1-1'] : ['4.8.0-1'],
        `the length of ${name} has five bytes`,
        () => withLength(whole(version), bytes(0x80, 0x80, 0x80, 0x80, 0x01)),
        [0x81, 0x95],
      ),
    ),
  ),
  ...longWays.map(({ extra, what }) =>
    breaks(5, ['1.5.5-1', '2.2.2-1'], `the length of properties is ${what}`, () =>
      packet(0x30, text('seq/l'), padded(0, extra)),
    ),
  ),
]

function publishKind(): Kind {
  const ids = { 4: [], 5: [] }
  return { name: 'PUBLISH', first: 0x30, flags: 0, whole: (version) => publish(version, 'seq/f'), ids }
}

/** Each packet ends after each of its first bytes. */
const cutShort = both((version) =>
  [
    ...kinds
      .filter(({ name }) => name !== 'PINGREQ' && name !== 'DISCONNECT')
      .map((kind) => [kind.name, kind.whole(version)] as const),
    ['PUBLISH', packet(0x32, text('ab'), u16(1))] as const,
  ].flatMap(([name, whole]) => {
    const body = whole.subarray(2)
    // An ack of 5 may end after its id; SUBSCRIBE may not end after its filter.
    return upTo(Math.min(body.length, 5))
      .filter((length) => length < body.length)
      .map((length) =>
        breaks(version, version === 5 ? ['4.13.1-1'] : ['4.8.0-1'], `${name} ends after ${length} bytes`, () =>
          packet(whole[0]!, body.subarray(0, length)),
        ),
      )
  }),
)

const tooMuch: readonly Case[] = [
  ...both((version) => [
    breaks(version, version === 5 ? ['4.13.1-1'] : ['4.8.0-1'], 'PINGREQ with a body', () => bytes(0xc0, 1, 0)),
  ]),
  ...kinds
    .filter(({ name }) => name.startsWith('PUB'))
    .map(({ name, whole }) =>
      breaks(4, ['4.8.0-1'], `${name} of 3.1.1 with a third byte`, () => packet(whole(4)[0]!, u16(1), bytes(0))),
    ),
  breaks(4, ['4.8.0-1', '3.14.1-1'], 'DISCONNECT of 3.1.1 with a reason', () => bytes(0xe0, 1, 0)),
  ...kinds
    .filter(({ name }) => name.startsWith('PUB'))
    .map(({ name, whole }) =>
      breaks(5, ['4.13.1-1'], `${name} with bytes behind its properties`, () =>
        packet(whole(5)[0]!, u16(1), bytes(0, 0, 7)),
      ),
    ),
  breaks(5, ['4.13.1-1'], 'DISCONNECT with bytes behind its properties', () => bytes(0xe0, 3, 0, 0, 7)),
]

/** Every cut of a CONNECT, its length corrected: no field may be missing. */
const shortConnect = both((version) => {
  const whole = (n: string) =>
    connect(version, n.padEnd(8, 'x').slice(0, 8), { user: 'u', password: 'p', will: { topic: 't', payload: 'w' } })
  const size = whole('').length - 2
  return upTo(size)
    .slice(0, size)
    .map((length) =>
      rejects(
        version,
        version === 5 ? ['3.1.4-1', '3.1.2-9', '3.1.3-1'] : ['3.1.4-1', '3.1.2-9', '3.1.3-1', '3.2.2-6'],
        `CONNECT ends after ${length} of its bytes`,
        (n) => packet(0x10, whole(n).subarray(2, 2 + length)),
        [0x81, 0x82, 0x84, 0x90],
      ),
    )
})

const good = both((version) => [
  works(
    version,
    version === 5
      ? ['3.12.4-1', '2.1.3-1', '4.2-1', '4.2.0-1', '3.1.0-1', '3.1.0-2']
      : ['3.12.4-1', '2.2.2-1', '2.2.2-2', '7.1.1-1', '3.1.0-1', '3.1.0-2'],
    'PINGREQ gets PINGRESP',
    (n) => [join('a', n), send('a', pingreq), get('a', { type: 'pingresp' })],
  ),
  works(
    version,
    version === 5 ? ['3.12.4-1', '3.1.4-6'] : ['3.12.4-1', '3.1.4-5'],
    'packets behind CONNECT in one segment are answered after CONNACK',
    (n) => [
      send('a', connect(version, n), pingreq, publish(version, `seq/${n}`, { qos: 1, id: 9 }), pingreq),
      get('a', { type: 'connack', reason: 0 }),
      (p) => p.client('a').gather([{ type: 'pingresp' }, { type: 'puback', id: 9 }, { type: 'pingresp' }]),
    ],
  ),
  works(version, version === 5 ? ['1.5.5-1'] : ['2.2.2-1'], 'lengths of one, two and three bytes', (n) => [
    join('a', n),
    ...[10, 127 - 8 - n.length, 300, 16_383, 16_500, 70_000].flatMap((size, at) => [
      send('a', publish(version, `seq/${n}`, { qos: 1, id: at + 1, payload: Buffer.alloc(Math.max(1, size), 0x61) })),
      get('a', { type: 'puback', id: at + 1, reason: 0 }),
    ]),
  ]),
  works(version, version === 5 ? ['4.2-1'] : ['7.1.1-1'], 'bytes that come one at a time', (n) => [
    ...[...connect(version, n)].map((byte) => send('a', bytes(byte))),
    get('a', { type: 'connack', reason: 0 }),
    ...[...pingreq].map((byte) => send('a', bytes(byte))),
    get('a', { type: 'pingresp' }),
  ]),
])

export const framing: readonly Case[] = [
  ...wrongFlags,
  ...notForServers,
  ...notFirst,
  ...second,
  ...lengths,
  ...cutShort,
  ...tooMuch,
  ...shortConnect,
  ...good,
]

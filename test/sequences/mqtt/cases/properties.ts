import { breaks, type Case, closed, dismissed, fails, get, join, rejects, send, sync, works } from '../case.ts'
import {
  type AckType,
  ack,
  auth,
  binary,
  bytes,
  disconnect,
  packet,
  prop,
  publish,
  subscribe,
  text,
  u16,
  u32,
  user,
  varint,
} from '../packets.ts'

/** Source: MQTT 5.0 table 2-4. `in`: the packets of a client that may have it. */
const all: readonly {
  readonly id: number
  readonly name: string
  readonly value: Buffer
  readonly in: string
  readonly zero?: Buffer
}[] = [
  { id: 0x01, name: 'payload format', value: bytes(1), in: 'PUBLISH will' },
  { id: 0x02, name: 'message expiry', value: u32(60), in: 'PUBLISH will' },
  { id: 0x03, name: 'content type', value: text('t'), in: 'PUBLISH will' },
  { id: 0x08, name: 'response topic', value: text('r/t'), in: 'PUBLISH will' },
  { id: 0x09, name: 'correlation data', value: binary('c'), in: 'PUBLISH will' },
  { id: 0x0b, name: 'subscription identifier', value: varint(7), in: 'SUBSCRIBE', zero: bytes(0) },
  { id: 0x11, name: 'session expiry', value: u32(60), in: 'CONNECT DISCONNECT' },
  { id: 0x12, name: 'assigned client id', value: text('x'), in: '' },
  { id: 0x13, name: 'server keep alive', value: u16(9), in: '' },
  { id: 0x15, name: 'authentication method', value: text('PROBE'), in: 'CONNECT AUTH' },
  { id: 0x16, name: 'authentication data', value: binary('yes'), in: 'CONNECT AUTH' },
  { id: 0x17, name: 'request problem information', value: bytes(1), in: 'CONNECT' },
  { id: 0x18, name: 'will delay', value: u32(1), in: 'will' },
  { id: 0x19, name: 'request response information', value: bytes(1), in: 'CONNECT' },
  { id: 0x1a, name: 'response information', value: text('x'), in: '' },
  { id: 0x1c, name: 'server reference', value: text('x'), in: '' },
  { id: 0x1f, name: 'reason string', value: text('x'), in: 'PUBACK PUBREC PUBREL PUBCOMP DISCONNECT AUTH' },
  { id: 0x21, name: 'receive maximum', value: u16(9), in: 'CONNECT', zero: u16(0) },
  { id: 0x22, name: 'topic alias maximum', value: u16(9), in: 'CONNECT' },
  { id: 0x23, name: 'topic alias', value: u16(1), in: 'PUBLISH', zero: u16(0) },
  { id: 0x24, name: 'maximum QoS', value: bytes(1), in: '' },
  { id: 0x25, name: 'retain available', value: bytes(1), in: '' },
  {
    id: 0x26,
    name: 'user property',
    value: Buffer.concat([text('n'), text('v')]),
    in: 'CONNECT will PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE UNSUBSCRIBE DISCONNECT AUTH',
  },
  { id: 0x27, name: 'maximum packet size', value: u32(1000), in: 'CONNECT', zero: u32(0) },
  { id: 0x28, name: 'wildcards available', value: bytes(1), in: '' },
  { id: 0x29, name: 'subscription identifiers available', value: bytes(1), in: '' },
  { id: 0x2a, name: 'shared subscriptions available', value: bytes(1), in: '' },
]

/** `raw`: the property section, length included. */
type Make = (raw: Buffer, n: string) => Buffer
const section = (...inside: readonly Buffer[]): Buffer => {
  const whole = Buffer.concat(inside)
  return Buffer.concat([varint(whole.length), whole])
}
const acksOf: readonly (readonly [AckType, number])[] = [
  ['puback', 0x40],
  ['pubrec', 0x50],
  ['pubrel', 0x62],
  ['pubcomp', 0x70],
]
const packets: Readonly<Record<string, { readonly before: 'nothing' | 'connect' | 'auth'; readonly make: Make }>> = {
  CONNECT: {
    before: 'nothing',
    make: (raw, n) => packet(0x10, text('MQTT'), bytes(5, 2), u16(0), raw, text(n)),
  },
  will: {
    before: 'nothing',
    make: (raw, n) =>
      packet(0x10, text('MQTT'), bytes(5, 6), u16(0), bytes(0), text(n), raw, text(`seq/${n}`), binary('w')),
  },
  PUBLISH: { before: 'connect', make: (raw, n) => packet(0x32, text(`seq/${n}`), u16(1), raw) },
  ...Object.fromEntries(
    acksOf.map(([type, first]) => [
      type.toUpperCase(),
      { before: 'connect', make: (raw: Buffer) => packet(first, u16(1), bytes(0), raw) } as const,
    ]),
  ),
  SUBSCRIBE: { before: 'connect', make: (raw, n) => packet(0x82, u16(1), raw, text(`seq/${n}`), bytes(0)) },
  UNSUBSCRIBE: { before: 'connect', make: (raw, n) => packet(0xa2, u16(1), raw, text(`seq/${n}`)) },
  DISCONNECT: { before: 'connect', make: (raw) => packet(0xe0, bytes(0), raw) },
  AUTH: { before: 'auth', make: (raw) => packet(0xf0, bytes(0x19), raw) },
}
const method = prop(0x15, text('PROBE'))
const proof = prop(0x16, binary('yes'))

const bad = (
  where: string,
  name: string,
  raw: (n: string) => Buffer,
  ids: readonly string[],
  codes = [0x81, 0x82],
): Case => {
  const { before, make } = packets[where]!
  if (before === 'nothing') return rejects(5, ids, name, (n) => make(raw(n), n), codes)
  if (before === 'connect') return breaks(5, ids, name, (n) => make(raw(n), n), codes)
  return fails(5, ids, name, (n) => [
    join('a', n, { properties: [method, proof] }),
    send('a', make(raw(n), n)),
    dismissed('a', codes),
  ])
}
/** AUTH needs its method whatever else it has. */
const base = (where: string, id: number): readonly Buffer[] =>
  (where === 'AUTH' || where === 'CONNECT') && id === 0x16 ? [method] : where === 'AUTH' && id !== 0x15 ? [method] : []

const foreign = Object.keys(packets).flatMap((where) =>
  all
    .filter((one) => !one.in.split(' ').includes(where))
    .map(({ id, name, value }) =>
      bad(where, `${name} in ${where}`, () => section(...base(where, id), prop(id, value)), [
        '4.13.1-1',
        ...(id === 0x0b && where === 'PUBLISH' ? ['3.3.4-6'] : []),
      ]),
    ),
)
const repeated = Object.keys(packets).flatMap((where) =>
  all
    .filter((one) => one.in.split(' ').includes(where) && one.id !== 0x26)
    .map(({ id, name, value }) =>
      bad(
        where,
        `${name} twice in ${where}`,
        () => section(...base(where, id), prop(id, value), prop(id, value)),
        ['4.13.1-1'],
        [0x82, 0x81],
      ),
    ),
)
const zeros = all.flatMap(({ id, name, zero, in: where }) =>
  zero
    ? [
        bad(
          where,
          `${name} of 0 in ${where}`,
          () => section(prop(id, zero)),
          ['4.13.1-1', ...(id === 0x23 ? ['3.3.2-8'] : [])],
          id === 0x23 ? [0x94, 0x82] : [0x82],
        ),
      ]
    : [],
)
const flags = all
  .filter(({ id }) => [0x01, 0x17, 0x19].includes(id))
  .flatMap(({ id, name, in: where }) =>
    where
      .split(' ')
      .flatMap((place) =>
        [2, 0x80, 0xff].map((value) =>
          bad(
            place,
            `${name} of ${value} in ${place}`,
            () => section(prop(id, bytes(value))),
            ['4.13.1-1'],
            [0x81, 0x82, 0x99],
          ),
        ),
      ),
  )
const unknown = Object.keys(packets).flatMap((where) =>
  [0x00, 0x04, 0x14, 0x2b, 0x7f].map((id) =>
    bad(where, `property ${id}, which is none, in ${where}`, () => section(...base(where, id), prop(id, bytes(0))), [
      '4.13.1-1',
    ]),
  ),
)
const beyond = Object.keys(packets).map((where) =>
  bad(where, `properties of ${where} reach beyond it`, () => Buffer.concat([varint(120), method]), [
    '2.2.2-1',
    '4.13.1-1',
  ]),
)
const cut = Object.keys(packets).flatMap((where) =>
  all
    .filter((one) => one.in.split(' ').includes(where))
    .map(({ id, name, value }) =>
      bad(
        where,
        `${name} in ${where} lacks its last byte`,
        () => section(...base(where, id), prop(id, value.subarray(0, -1))),
        ['2.2.2-1', '4.13.1-1'],
      ),
    ),
)
const missing: readonly Case[] = [
  breaks(5, ['2.2.2-1'], 'PUBLISH without a property length', () => packet(0x30, text('seq/x'))),
  breaks(5, ['2.2.2-1'], 'SUBSCRIBE that begins its filters where properties belong', () =>
    packet(0x82, u16(1), text('a'), bytes(0)),
  ),
]

const accepted = Object.entries(packets).flatMap(([where, { make }]) =>
  all
    .filter((one) => one.in.split(' ').includes(where) && !(where === 'CONNECT' && [0x15, 0x16].includes(one.id)))
    .map(({ id, name, value }) =>
      works(5, ['2.2.2-1', ...(where === 'DISCONNECT' ? ['3.14.4-2'] : [])], `${name} in ${where} is taken`, (n) => {
        const raw = make(section(...base(where, id), prop(id, value)), n)
        switch (where) {
          case 'CONNECT':
          case 'will':
            return [send('a', raw), get('a', { type: 'connack', reason: 0 })]
          case 'AUTH':
            return [
              join('a', n, { properties: [method, proof] }),
              send(
                'a',
                make(section(...(id === 0x15 ? [] : [method]), ...(id === 0x16 ? [] : [proof]), prop(id, value)), n),
              ),
              get('a', { type: 'auth', reason: 0, properties: { 21: ['PROBE'] } }),
            ]
          case 'DISCONNECT':
            return [join('a', n, { properties: [prop(0x11, u32(5))] }), send('a', raw), closed('a')]
          case 'PUBREL':
            return [join('a', n), send('a', raw), get('a', { type: 'pubcomp', id: 1, reason: 0x92 }), sync('a')]
          case 'PUBREC':
            return [join('a', n), send('a', raw), get('a', { type: 'pubrel', id: 1, reason: 0x92 }), sync('a')]
          case 'PUBLISH':
            // A topic stands in it, so that an alias is but told.
            return [join('a', n), send('a', raw), get('a', { type: 'puback', id: 1, reason: [0, 0x10] }), sync('a')]
          case 'SUBSCRIBE':
            return [join('a', n), send('a', raw), get('a', { type: 'suback', id: 1, codes: [0] })]
          case 'UNSUBSCRIBE':
            return [join('a', n), send('a', raw), get('a', { type: 'unsuback', id: 1, codes: [0x11] })]
          default:
            return [join('a', n), send('a', raw), sync('a')]
        }
      }),
    ),
)
const userTwice = Object.entries(packets)
  .filter(([, { before }]) => before === 'nothing')
  .map(([where, { make }]) =>
    works(5, ['2.2.2-1'], `a user property may be repeated in ${where}`, (n) => [
      send('a', make(section(user('n', '1'), user('n', '1')), n)),
      get('a', { type: 'connack', reason: 0 }),
    ]),
  )

/** Codes that the table of each packet does not have, or not for clients. */
const wrongReasons: readonly Case[] = [
  ...acksOf.flatMap(([type]) =>
    (type === 'puback' || type === 'pubrec' ? [0x01, 0x7f, 0x92, 0xff] : [0x01, 0x10, 0x80, 0x91, 0xff]).map((code) =>
      breaks(
        5,
        [{ puback: '3.4.2-1', pubrec: '3.5.2-1', pubrel: '3.6.2-1', pubcomp: '3.7.2-1' }[type]],
        `${type.toUpperCase()} with the reason ${code}`,
        () => ack(type, 1, code),
      ),
    ),
  ),
  ...[0x01, 0x02, 0x10, 0x18, 0x7f, 0x84, 0x85, 0x86, 0x8b, 0x8d, 0x8e, 0x9c, 0x9d, 0xff].map((code) =>
    breaks(5, ['3.14.2-1'], `DISCONNECT with the reason ${code}`, () => disconnect(code)),
  ),
  ...[0x00, 0x01, 0x17, 0x1a, 0x87, 0xff].map((code) =>
    fails(5, ['3.15.2-1'], `AUTH with the reason ${code}`, (n) => [
      join('a', n, { properties: [method, proof] }),
      send('a', auth(code, [method, proof])),
      dismissed('a', [0x81, 0x82]),
    ]),
  ),
  ...[0, 1, 2, 4, 8]
    .filter((bits) => bits > 0)
    .map((bits) =>
      fails(5, ['3.15.1-1', '2.1.3-1'], `AUTH with the flags ${bits}`, (n) => [
        join('a', n, { properties: [method, proof] }),
        send('a', packet(0xf0 | bits, bytes(0x19), section(method, proof))),
        dismissed('a', [0x81, 0x82]),
      ]),
    ),
]
const rightReasons: readonly Case[] = [
  ...[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99].map((code) =>
    works(
      5,
      ['3.14.2-1', '3.14.4-1', '3.14.4-2'],
      `DISCONNECT with the reason ${code} gets the end and nothing else`,
      (n) => [join('a', n), send('a', disconnect(code)), closed('a')],
    ),
  ),
  ...[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].flatMap((code) => [
    works(5, ['3.4.2-1'], `PUBACK with the reason ${code} is taken`, (n) => [
      join('a', n),
      send('a', subscribe(5, [[`seq/${n}`, 1]])),
      get('a', { type: 'suback', codes: [1] }),
      send('a', publish(5, `seq/${n}`, { qos: 1 })),
      (p) => p.client('a').gather([{ type: 'puback' }, { type: 'publish', qos: 1 }]),
      (p) => p.client('a').send(ack('puback', p.client('a').published(0).id!, code)),
      sync('a'),
    ]),
  ]),
]

export const properties: readonly Case[] = [
  ...foreign,
  ...repeated,
  ...zeros,
  ...flags,
  ...unknown,
  ...beyond,
  ...cut,
  ...missing,
  ...accepted,
  ...userTwice,
  ...wrongReasons,
  ...rightReasons,
]

import { both, type Case, closed, gather, get, join, send, sync, works } from '../case.ts'
import {
  ack,
  auth,
  binary,
  bytes,
  disconnect,
  prop,
  publish,
  subscribe,
  text,
  u16,
  u32,
  unsubscribe,
  type Version,
  varint,
} from '../packets.ts'

const by = (version: Version, four: readonly string[], five: readonly string[]) => (version === 4 ? four : five)

/** The right form of what other tables break. */
const forms = both((version) => [
  works(
    version,
    by(
      version,
      ['3.1.2-1', '3.1.2-2', '3.1.2-3', '3.1.2-11', '3.1.2-13', '3.1.2-15', '3.1.4-1', '3.2.2-5'],
      ['3.1.2-1', '3.1.2-2', '3.1.2-3', '3.1.2-11', '3.1.2-13', '3.1.4-1', '3.1.4-2', '3.2.2-8'],
    ),
    'a plain CONNECT is let in and stays',
    (n) => [join('a', n, {}, { present: false }), sync('a')],
  ),
  works(
    version,
    by(version, ['3.1.3-10', '4.7.3-2', '3.3.2-2'], ['3.1.3-11', '4.7.3-2', '3.3.2-2']),
    'a will topic of many characters',
    (n) => [join('a', n, { will: { topic: `$seq/ü/${n}//x y/` } }), sync('a')],
  ),
  works(
    version,
    by(version, ['3.6.1-1', '2.3.1-1', '3.3.1-4', '4.7.1-1'], ['3.6.1-1', '3.3.1-4', '4.7.0-1', '3.5.2-1']),
    'PUBLISH with QoS 2, PUBREC, PUBREL, PUBCOMP',
    (n) => [
      join('a', n),
      send('a', publish(version, `seq/${n}`, { qos: 2, id: 1 })),
      get('a', { type: 'pubrec', id: 1, reason: [0, 0x10] }),
      send('a', bytes(0x62, 2, 0, 1)),
      get('a', { type: 'pubcomp', id: 1 }),
    ],
  ),
  works(
    version,
    by(
      version,
      ['3.8.1-1', '3.8.3-2', '3.8.3-3', '3-8.3-4', '3.10.1-1', '3.10.3-1', '3.10.3-2'],
      ['3.8.1-1', '3.8.3-2', '3.8.3-5', '3.10.1-1', '3.10.3-1', '3.10.3-2'],
    ),
    'SUBSCRIBE and UNSUBSCRIBE with one filter',
    (n) => [
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}/+/#`, 1]])),
      get('a', { type: 'suback', codes: [1] }),
      send('a', unsubscribe(version, [`seq/${n}/+/#`])),
      get('a', { type: 'unsuback', codes: version === 5 ? [0] : [] }),
    ],
  ),
  works(
    version,
    by(version, ['3.3.1-7', '3.3.1-5'], ['3.3.1-5']),
    'a retained message of QoS 0 replaces one of QoS 1',
    (n) => [
      join('p', n),
      send('p', publish(version, `seq/${n}`, { qos: 1, retain: true, payload: 'one' })),
      get('p', { type: 'puback' }),
      // What comes behind on the same connection is stored behind.
      send(
        'p',
        publish(version, `seq/${n}`, { retain: true, payload: 'two' }),
        publish(version, `seq/${n}/x`, { qos: 1, id: 2 }),
      ),
      get('p', { type: 'puback', id: 2 }),
      send('p', subscribe(version, [[`seq/${n}`, 0]])),
      gather('p', { type: 'suback' }, { type: 'publish', payload: 'two', retain: true }),
    ],
  ),
])

const sizes: readonly Case[] = [1, 1_000, 100_000, 4 * 1024 * 1024 - 100].map((size) =>
  works(5, ['3.2.2-15'], `a packet of ${size} bytes and a header is taken`, (n) => [
    join('a', n),
    send('a', publish(5, `seq/${n}`, { qos: 1, payload: Buffer.alloc(size, 0x61) })),
    get('a', { type: 'puback', reason: [0, 0x10] }),
  ]),
)

const five: readonly Case[] = [
  works(5, ['3.2.2-6', '3.2.2-7'], 'a CONNACK of 0 is not followed by the end', (n) => [
    join('a', n, { clean: false, properties: [prop(0x11, u32(9))] }, { present: false }),
    sync('a'),
    sync('a'),
  ]),
  works(5, ['3.2.2-19', '3.2.2-20'], 'a CONNACK keeps within the client’s packets', (n) => [
    join('a', n, { properties: [prop(0x27, u32(60))] }, { within: 60 }),
  ]),
  works(
    5,
    ['3.3.2-7', '3.3.2-9', '3.3.2-13', '3.3.2-14', '3.3.4-6'],
    'an alias, a response topic, and no identifier',
    (n) => [
      join('a', n),
      send('a', subscribe(5, [[`seq/${n}`, 0]])),
      get('a', { type: 'suback', codes: [0] }),
      send('a', publish(5, `seq/${n}`, { properties: [prop(0x23, u16(16)), prop(8, text('re/ply'))] })),
      get('a', { type: 'publish', topic: `seq/${n}`, properties: { 8: ['re/ply'], 11: [] } }),
    ],
  ),
  works(5, ['3.8.3-4'], 'a shared subscription without No Local', (n) => [
    join('a', n),
    send('a', subscribe(5, [[`$share/g/seq/${n}`, 1]], 1, [prop(0x0b, varint(3))])),
    get('a', { type: 'suback', codes: [1] }),
  ]),
  works(5, ['3.14.0-1', '3.14.2-2'], 'DISCONNECT of the server comes behind CONNACK and has no session expiry', (n) => [
    join('a', n, { properties: [prop(0x11, u32(9))] }),
    send('a', bytes(0x36, 0)),
    get('a', { type: 'disconnect', properties: { 17: [] } }),
    closed('a'),
  ]),
  works(5, ['3.14.2-2'], 'a client may change an expiry that is not 0', (n) => [
    join('a', n, { clean: false, properties: [prop(0x11, u32(1))] }),
    send('a', disconnect(0, [prop(0x11, u32(60))])),
    closed('a'),
    join('b', n, { clean: false }, { present: true }),
  ]),
  works(5, ['4.12.0-1', '4.12.1-2', '3.5.2-1'], 'a method that is known, twice', (n) => [
    join('a', n, { properties: [prop(0x15, text('PROBE')), prop(0x16, binary('yes'))] }),
    send('a', auth(0x19, [prop(0x15, text('PROBE')), prop(0x16, binary('yes'))])),
    get('a', { type: 'auth', reason: 0 }),
    sync('a'),
    send('a', ack('puback', 5)),
    sync('a'),
  ]),
]

export const rightForms: readonly Case[] = [...forms, ...sizes, ...five]

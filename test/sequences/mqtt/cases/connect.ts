import { asVersion, both, type Case, closed, cut, fails, get, join, rejects, send, sync, works } from '../case.ts'
import {
  bytes,
  type ConnectParts,
  connect,
  packet,
  pingreq,
  prop,
  publish,
  subscribe,
  text,
  u16,
  u32,
  type Version,
} from '../packets.ts'

const by = (version: Version, four: readonly string[], five: readonly string[]) => (version === 4 ? four : five)
const kept = (version: Version): ConnectParts => ({
  clean: false,
  ...(version === 5 && { properties: [prop(0x11, u32(60))] }),
})

const names = both((version) =>
  ['MQTX', 'mqtt', 'MQT', 'MQTTX', 'MQIsdq', '', 'MQT\u0000'].map((name) =>
    fails(version, ['3.1.2-1', '3.1.4-1'], `the protocol name ${JSON.stringify(name)}`, (n) => [
      send('a', connect(version, n, { name })),
      closed('a'),
    ]),
  ),
)

/** The answer has the format of the client's level. */
const levels: readonly Case[] = [
  ...[0, 1, 2, 3, 0x83, 0x84, 0x85].map((level) =>
    fails(4, ['3.1.2-2', '3.2.2-5', '3.2.2-4'], `the protocol level ${level}`, (n) => [
      send('a', connect(4, n, { level })),
      get('a', { type: 'connack', reason: 1, present: false }),
      closed('a'),
    ]),
  ),
  ...[6, 7, 0x7f].map((level) =>
    fails(5, ['3.1.2-2', '3.2.2-6', '3.2.2-7'], `the protocol level ${level}`, (n) => [
      send('a', connect(5, n, { level })),
      get('a', { type: 'connack', reason: 0x84, present: false }),
      closed('a'),
    ]),
  ),
]

const reserved = both((version) =>
  [0x01, 0x03, 0xc3].map((flags) =>
    rejects(version, ['3.1.2-3', '3.1.4-1'], `the reserved flag among ${flags}`, (n) =>
      connect(version, n, { flags, ...(flags === 0xc3 && { user: 'u', password: 'p' }) }),
    ),
  ),
)

const noWill = both((version) =>
  [1, 2, 3, 4, 5, 6, 7].map((bits) =>
    rejects(
      version,
      [
        ...((bits & 3) === 0 ? [] : by(version, ['3.1.2-13', '3.1.2-11'], ['3.1.2-11'])),
        ...(bits & 4 ? by(version, ['3.1.2-15', '3.1.2-11'], ['3.1.2-13']) : []),
      ],
      `will QoS ${bits & 3} and retain ${bits >> 2} without a will`,
      (n) => connect(version, n, { flags: 2 | (bits << 3) }),
    ),
  ),
)
const will3 = both((version) =>
  [false, true].map((retain) =>
    rejects(version, by(version, ['3.1.2-14'], ['3.1.2-12']), `will QoS 3${retain ? ' and retain' : ''}`, (n) =>
      connect(version, n, { will: { topic: `seq/${n}`, qos: 3, retain } }),
    ),
  ),
)
const wills = both((version) =>
  [0, 1, 2].flatMap((qos) =>
    [false, true].map((retain) =>
      works(
        version,
        by(version, ['3.1.2-9', '3.1.2-14', '3.1.3-1'], ['3.1.2-9', '3.1.2-12', '3.1.3-1']),
        `a will with QoS ${qos}${retain ? ' and retain' : ''} is taken`,
        (n) => [join('a', n, { will: { topic: `seq/${n}`, qos, retain } }), sync('a')],
      ),
    ),
  ),
)

/** What the flags announce and what is there, in all combinations that differ; one field more or less shifts the rest. */
const fields = both((version) =>
  [0, 0x40, 0x80, 0xc0].flatMap((flags) =>
    [0, 0x40, 0x80, 0xc0]
      .filter((there) => there !== flags && !(version === 4 && flags === 0x40))
      // One text field instead of another cannot be told from it.
      .filter((there) => !(flags > 0 && flags < 0xc0 && there > 0 && there < 0xc0))
      .map((there) =>
        rejects(
          version,
          [
            ...(flags & 0x80
              ? there & 0x80
                ? []
                : by(version, ['3.1.2-19'], ['3.1.2-17'])
              : there & 0x80
                ? by(version, ['3.1.2-18'], ['3.1.2-16'])
                : []),
            ...(flags & 0x40
              ? there & 0x40
                ? []
                : by(version, ['3.1.2-21'], ['3.1.2-19'])
              : there & 0x40
                ? by(version, ['3.1.2-20'], ['3.1.2-18'])
                : []),
            '3.1.3-1',
            '3.1.4-1',
          ],
          `flags that say ${flags}, and fields as for ${there}`,
          (n) =>
            connect(version, n, {
              flags: 2 | flags,
              ...(there & 0x80 && { user: 'u' }),
              ...(there & 0x40 && { password: 'p' }),
            }),
        ),
      ),
  ),
)
const given = both((version) =>
  [0, 0x80, 0xc0, ...(version === 5 ? [0x40] : [])].map((flags) =>
    works(
      version,
      by(
        version,
        ['3.1.2-18', '3.1.2-19', '3.1.2-20', '3.1.2-21', '3.1.2-22'],
        ['3.1.2-16', '3.1.2-17', '3.1.2-18', '3.1.2-19'],
      ),
      `flags that say ${flags}, and the fields`,
      (n) => [join('a', n, { ...(flags & 0x80 && { user: 'u' }), ...(flags & 0x40 && { password: 'p' }) }), sync('a')],
    ),
  ),
)
const others: readonly Case[] = [
  rejects(4, ['3.1.2-22', '3.1.4-1'], 'a password without a user name', (n) => connect(4, n, { password: 'p' })),
  ...both((version) => [
    rejects(version, ['3.1.4-1', '3.1.3-1'], 'bytes behind a CONNECT', (n) => connect(version, n, { more: bytes(0) })),
    rejects(version, ['3.1.3-3', '3.1.3-1'], 'no client id at all', () =>
      packet(0x10, text('MQTT'), bytes(version, 2), u16(0), ...(version === 5 ? [bytes(0)] : [])),
    ),
    fails(
      version,
      by(version, ['3.1.4-5', '3.1.4-1'], ['3.1.4-6']),
      'what follows a refused CONNECT is not worked on',
      (n) => [
        asVersion(version, join('b', `${n}b`)),
        send('b', subscribe(version, [[`seq/${n}`, 0]])),
        get('b', { type: 'suback', codes: [0] }),
        send('a', connect(version, n, { flags: 3 }), publish(version, `seq/${n}`, { payload: 'no' }), pingreq),
        (play) => play.client('a').refused(version === 5 ? [0x81, 0x82] : []),
        send('b', publish(version, `seq/${n}`, { payload: 'yes' })),
        get('b', { type: 'publish', payload: 'yes' }),
      ],
    ),
    fails(
      version,
      by(version, ['3.2.2-5', '3.2.2-4', '3.1.4-1'], ['3.1.4-2', '3.2.2-7', '3.2.2-8', '3.14.0-1', '3.2.2-6']),
      'a user who is not known is told so, and nothing else',
      (n) => [
        send('a', connect(version, n, { user: 'mallory', password: 'x' })),
        get('a', { type: 'connack', reason: version === 4 ? [4, 5] : [0x86, 0x87], present: false }),
        closed('a'),
      ],
    ),
  ]),
]

const characters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const ids = both((version) => [
  ...Array.from({ length: 23 }, (_, at) => at + 1).map((length) =>
    works(
      version,
      ['3.1.3-5', '3.1.3-3', '3.1.3-2', ...by(version, ['3.1.4-4'], ['3.1.4-5']), '3.2.0-1'],
      `a client id of ${length} letters and digits`,
      () => [
        // Its own characters at each length: no two of these cases share an id.
        join('a', Array.from({ length }, (_, at) => characters[(at * 7 + length + version * 29) % 62]).join('')),
        sync('a'),
      ],
    ),
  ),
  works(
    version,
    by(version, ['3.1.3-6'], ['3.1.3-6', '3.1.3-7', '3.2.2-16']),
    'an empty client id with a clean session',
    () => [
      join(
        'a',
        '',
        {},
        {
          present: false,
          ...(version === 5 && { properties: { 18: (id: unknown) => typeof id === 'string' && id.length > 0 } }),
        },
      ),
      join('b', '', {}, { present: false }),
      sync('a'),
      sync('b'),
    ],
  ),
  works(version, ['3.1.3-5'], 'ids that differ in case are two', (n) => [
    join('a', `${n}X`),
    join('b', `${n}x`),
    sync('a'),
    sync('b'),
  ]),
  fails(version, by(version, ['3.1.3-9'], ['3.1.3-8']), 'a client id above the limit', (n) => [
    send('a', connect(version, n.padEnd(513, 'x'))),
    get('a', { type: 'connack', reason: version === 4 ? 2 : 0x85, present: false }),
    closed('a'),
  ]),
  works(version, by(version, ['3.1.3-9'], ['3.1.3-8']), 'a client id at the limit', (n) => [
    join('a', n.padEnd(512, 'x')),
  ]),
])
const emptyIds: readonly Case[] = [
  fails(4, ['3.1.3-7', '3.1.3-8', '3.2.2-4', '3.2.2-5'], 'an empty client id with a session to keep', () => [
    send('a', connect(4, '', { clean: false })),
    get('a', { type: 'connack', reason: 2, present: false }),
    closed('a'),
  ]),
  works(4, ['3.1.3-7'], 'an empty client id has a clean session', () => [
    join('a', '', { clean: true }, { present: false }),
  ]),
  works(5, ['3.1.3-6', '3.2.2-16'], 'an empty client id without clean start gets an id that can come back', (n) => [
    join(
      'a',
      '',
      { clean: false, properties: [prop(0x11, u32(60))] },
      { present: false, properties: { 18: (id) => typeof id === 'string' && id !== '' } },
    ),
    sync('a'),
    join('b', n, {}, { properties: { 18: [] } }),
  ]),
]

/** First connection × second connection. */
const presence = both((version) =>
  [true, false].flatMap((firstClean) =>
    [true, false].flatMap((secondClean) =>
      (version === 5 ? [0, 60, 0xffffffff] : [0]).flatMap((expiry) =>
        (['cut', 'taken over'] as const).map((how) => {
          const lasts = version === 5 ? expiry > 0 : !firstClean
          const present = lasts && !secondClean
          const parts = (clean: boolean): ConnectParts => ({
            clean,
            ...(version === 5 && { properties: [prop(0x11, u32(expiry))] }),
          })
          return works(
            version,
            present
              ? by(
                  version,
                  ['3.1.2-4', '3.2.2-2', '3.1.4-3', '4.1.0-1'],
                  ['3.1.2-5', '3.2.2-3', '3.1.4-4', '3.1.2-23', '4.1.0-1'],
                )
              : secondClean
                ? by(version, ['3.1.2-6', '3.2.2-1', '3.1.4-3'], ['3.1.2-4', '3.2.2-2', '3.1.4-4'])
                : by(version, ['3.1.2-5', '3.2.2-3', '3.1.4-3', '3.1.2-6'], ['3.1.2-6', '3.2.2-3', '3.1.4-4']),
            `clean ${firstClean}, ${version === 5 ? `expiry ${expiry}, ` : ''}${how}, clean ${secondClean}: session present ${present ? 1 : 0}`,
            (n) => [
              join('a', n, parts(firstClean), { present: false }),
              send('a', subscribe(version, [[`seq/${n}`, 1]])),
              get('a', { type: 'suback', codes: [1] }),
              ...(how === 'cut' ? [send('a', bytes(0xe0, 0)), closed('a')] : []),
              join('b', n, parts(secondClean), { present }),
              // The subscription is there or not.
              send('b', publish(version, `seq/${n}`, { qos: 1, id: 5 })),
              ...(present
                ? [
                    (play: Parameters<ReturnType<typeof sync>>[0]) =>
                      play.client('b').gather([
                        { type: 'puback', id: 5 },
                        { type: 'publish', topic: `seq/${n}` },
                      ]),
                  ]
                : [get('b', { type: 'puback', id: 5 }), sync('b')]),
            ],
          )
        }),
      ),
    ),
  ),
)

const takeOver = both((version) => [
  works(version, by(version, ['3.1.4-2'], ['3.1.4-3', '4.13.2-1']), 'the newer client ends the older one', (n) => [
    join('a', n),
    join('b', n),
    async (play) => {
      if (version === 5) await play.client('a').get({ type: 'disconnect', reason: 0x8e })
      await play.client('a').closed()
    },
    sync('b'),
  ]),
  works(
    version,
    by(version, ['3.2.0-1', '3.1.4-4'], ['3.2.0-1', '3.2.0-2', '3.1.4-5', '3.2.2-1']),
    'the first packet is CONNACK, and there is one',
    (n) => [
      join('a', n, kept(version)),
      send('a', subscribe(version, [[`seq/${n}`, 1]])),
      get('a', { type: 'suback', codes: [1] }),
      cut('a'),
      join('p', `${n}p`),
      send('p', publish(version, `seq/${n}`, { qos: 1 })),
      get('p', { type: 'puback' }),
      join('a', n, kept(version), { present: true }),
      get('a', { type: 'publish', topic: `seq/${n}` }),
      sync('a'),
    ],
  ),
])

const keepAlive = both((version) => [
  fails(
    version,
    by(version, ['3.1.2-24'], ['3.1.2-22', '4.13.2-1']),
    'silence of one and a half times the keep alive',
    (n) => [
      join('a', n, { keepAlive: 1 }),
      async (play) => {
        const from = Date.now()
        if (version === 5) await play.client('a').get({ type: 'disconnect', reason: 0x8d })
        await play.client('a').closed()
        if (Date.now() - from < 1_400) throw new Error('it came too early')
      },
    ],
  ),
  works(
    version,
    by(version, ['3.1.2-23', '3.1.2-24'], ['3.1.2-20', '3.1.2-22']),
    'PINGREQ keeps a client alive',
    (n) => [
      join('a', n, { keepAlive: 1 }),
      ...[1, 2, 3].flatMap(() => [(): Promise<void> => new Promise((resolve) => setTimeout(resolve, 700)), sync('a')]),
    ],
  ),
])

const five: readonly Case[] = [
  ...[0, 61, 120, 65_535].map((keepAlive) =>
    works(5, ['3.1.2-21', '3.2.2-21'], `a keep alive of ${keepAlive} becomes the server’s`, (n) => [
      join('a', n, { keepAlive }, { properties: { 19: [60] } }),
    ]),
  ),
  ...[1, 59, 60].map((keepAlive) =>
    works(5, ['3.2.2-22'], `a keep alive of ${keepAlive} stays`, (n) => [
      join('a', n, { keepAlive }, { properties: { 19: [] } }),
    ]),
  ),
  works(5, ['3.1.2-28'], 'no response information that was not asked for', (n) => [
    join('a', n, {}, { properties: { 26: [] } }),
    join('b', `${n}b`, { properties: [prop(0x19, bytes(0))] }, { properties: { 26: [] } }),
  ]),
  works(5, ['3.2.2-9', '3.2.2-10'], 'every QoS and retain is served, and nothing says otherwise', (n) => [
    join('a', n, {}, { properties: { 36: [], 37: [], 40: [], 41: [], 42: [] } }),
    send(
      'a',
      subscribe(5, [
        [`seq/${n}`, 0],
        [`seq/${n}/1`, 1],
        [`seq/${n}/2`, 2],
      ]),
    ),
    get('a', { type: 'suback', codes: [0, 1, 2] }),
  ]),
  works(5, ['3.2.2-17', '3.2.2-18'], 'the alias maximum is announced', (n) => [
    join('a', n, {}, { properties: { 34: [16] } }),
  ]),
  {
    ...works(5, ['3.2.2-18'], 'no aliases are taken, and nothing says otherwise', (n) => [
      join('a', n, {}, { properties: { 34: [], 33: [3], 42: [0] } }),
    ]),
    at: 'bare',
  },
  works(5, ['3.1.2-23', '3.2.2-2'], 'a session expiry of more than a week is lowered, and said so', (n) => [
    join('a', n, { properties: [prop(0x11, u32(0xffffffff))] }, { properties: { 17: [604_800] } }),
    join('b', `${n}b`, { properties: [prop(0x11, u32(600))] }, { properties: { 17: [] } }),
  ]),
  fails(5, ['3.2.2-19', '3.2.2-20', '3.1.2-24'], 'a refusal keeps within the client’s packets', (n) => [
    send('a', connect(5, n, { user: 'mallory', properties: [prop(0x27, u32(20))] })),
    get('a', { type: 'connack', reason: [0x86, 0x87], within: 20 }),
    closed('a'),
  ]),
  works(5, ['3.1.2-23', '4.1.0-2'], 'a session is gone once its expiry is over', (n) => [
    join('a', n, { clean: false, properties: [prop(0x11, u32(1))] }),
    cut('a'),
    () => new Promise((resolve) => setTimeout(resolve, 2_200)),
    join('b', n, { clean: false }, { present: false }),
  ]),
]

export const connecting: readonly Case[] = [
  ...keepAlive,
  ...five,
  ...names,
  ...levels,
  ...reserved,
  ...noWill,
  ...will3,
  ...wills,
  ...fields,
  ...given,
  ...others,
  ...ids,
  ...emptyIds,
  ...presence,
  ...takeOver,
]

import {
  again,
  answer,
  both,
  type Case,
  closed,
  cut,
  dismissed,
  fails,
  gather,
  get,
  getFor,
  join,
  type Step,
  send,
  sync,
  wait,
  works,
} from '../case.ts'
import {
  ack,
  auth,
  binary,
  bytes,
  type ConnectParts,
  connect,
  disconnect,
  packet,
  pingreq,
  prop,
  publish,
  subscribe,
  text,
  u32,
  user,
  type Version,
} from '../packets.ts'

const by = (version: Version, four: readonly string[], five: readonly string[]) => (version === 4 ? four : five)
const kept = (version: Version): ConnectParts => ({
  clean: false,
  ...(version === 5 && { properties: [prop(0x11, u32(60))] }),
})

const resumed = both((version) => {
  const begin = (n: string, qos: number): readonly Step[] => [
    join('s', `${n}s`, kept(version)),
    send('s', subscribe(version, [[`seq/${n}`, qos]])),
    get('s', { type: 'suback', codes: [qos] }),
    join('p', `${n}p`),
  ]
  const put = (n: string, payload: string, id = 1, qos = 2): Step =>
    send('p', publish(version, `seq/${n}`, { qos, id, payload }))
  const back = (n: string) => join('s', `${n}s`, kept(version), { present: true })
  const state = by(version, ['4.4.0-1', '3.1.2-4', '3.2.2-2', '4.1.0-1'], ['4.4.0-1', '3.1.2-5', '3.1.2-23', '4.1.0-1'])
  return [
    ...([1, 2] as const).flatMap((qos) =>
      (['cut', 'DISCONNECT', 'taken over'] as const).map((how) =>
        works(
          version,
          [...state, '3.3.1-1', '4.6.0-1', ...(version === 5 ? (qos === 1 ? ['4.3.2-3'] : ['4.3.3-3']) : [])],
          `three unanswered QoS ${qos} messages come again in order, ${how}`,
          (n) => [
            ...begin(n, qos),
            ...['1', '2', '3'].flatMap((payload) => [
              put(n, payload, Number(payload)),
              get('s', { type: 'publish', payload, qos, dup: false }),
            ]),
            ...(how === 'cut' ? [cut('s')] : how === 'DISCONNECT' ? [send('s', disconnect()), closed('s')] : []),
            back(n),
            again('s', 2),
            again('s', 2),
            again('s', 2),
            ...(qos === 1
              ? [answer('s', 'puback', undefined, 2), answer('s', 'puback', undefined, 1), answer('s', 'puback')]
              : []),
            sync('s'),
          ],
        ),
      ),
    ),
    works(
      version,
      [...state, ...by(version, ['4.3.2-1'], ['4.3.2-3', '4.3.2-1'])],
      'what was acknowledged does not come again',
      (n) => [
        ...begin(n, 1),
        ...['1', '2'].flatMap((payload) => [
          put(n, payload, Number(payload)),
          get('s', { type: 'publish', payload, qos: 1 }),
        ]),
        answer('s', 'puback', undefined, 1),
        sync('s'),
        cut('s'),
        back(n),
        get('s', { type: 'publish', payload: '2', dup: true }),
        sync('s'),
      ],
    ),
    works(
      version,
      [...state, ...by(version, ['4.3.3-1'], ['4.3.3-5', '4.3.3-6'])],
      'after PUBREC it is PUBREL that comes again',
      (n) => [
        ...begin(n, 2),
        put(n, '1'),
        get('s', { type: 'publish', qos: 2 }),
        answer('s', 'pubrec'),
        getFor('s', 'pubrel'),
        cut('s'),
        back(n),
        getFor('s', 'pubrel'),
        answer('s', 'pubcomp'),
        sync('s'),
        cut('s'),
        back(n),
        sync('s'),
      ],
    ),
    works(
      version,
      by(version, ['4.5.0-1', '3.1.2-5', '4.1.0-1'], ['4.5.0-1', '4.1.0-1', '3.1.2-23']),
      'what was published meanwhile comes later, in order',
      (n) => [
        ...begin(n, 1),
        cut('s'),
        ...['1', '2', '3'].flatMap((payload) => [put(n, payload, Number(payload), 1), get('p', { type: 'puback' })]),
        back(n),
        ...['1', '2', '3'].map((payload) => get('s', { type: 'publish', payload, qos: 1, dup: false })),
      ],
    ),
    works(
      version,
      by(version, ['4.3.3-2', '4.4.0-1'], ['4.3.3-10', '4.4.0-1']),
      'a QoS 2 id from before the reconnect is not delivered twice',
      (n) => [
        ...begin(n, 0),
        join('q', `${n}q`, kept(version)),
        send('q', publish(version, `seq/${n}`, { qos: 2, id: 6, payload: 'one' })),
        get('q', { type: 'pubrec', id: 6 }),
        get('s', { type: 'publish', payload: 'one' }),
        cut('q'),
        join('q', `${n}q`, kept(version), { present: true }),
        send('q', publish(version, `seq/${n}`, { qos: 2, id: 6, payload: 'one', dup: true })),
        get('q', { type: 'pubrec', id: 6 }),
        send('q', ack('pubrel', 6)),
        get('q', { type: 'pubcomp', id: 6 }),
        send('q', publish(version, `seq/${n}`, { qos: 0, payload: 'two' })),
        get('s', { type: 'publish', payload: 'two' }),
      ],
    ),
    works(
      version,
      by(version, ['3.1.2-6', '4.1.0-2'], ['3.1.2-4', '4.1.0-2']),
      'a clean start forgets queue and subscriptions',
      (n) => [
        ...begin(n, 1),
        cut('s'),
        put(n, 'old', 1, 1),
        get('p', { type: 'puback' }),
        join('s', `${n}s`, { clean: true }, { present: false }),
        sync('s'),
        put(n, 'gone', 2, 1),
        get('p', { type: 'puback', id: 2 }),
        sync('s'),
      ],
    ),
    works(version, by(version, ['2.3.1-4'], ['2.2.1-4']), 'unanswered deliveries have packet ids of their own', (n) => [
      ...begin(n, 1),
      ...Array.from({ length: 20 }, (_, at) => [
        put(n, String(at), at + 1),
        get('s', { type: 'publish', payload: String(at) }),
      ]).flat(),
      (play) => {
        const ids = new Set(play.client('s').publishes.map(({ id }) => id))
        if (ids.size !== 20) throw new Error(`${ids.size} ids for 20 messages`)
      },
    ]),
    works(
      version,
      by(version, ['2.3.1-7', '2.3.1-6'], ['2.2.1-6', '2.2.1-5']),
      'answers have the ids of what they answer',
      (n) => [
        join('a', n),
        ...[1, 255, 256, 32_768, 65_535].flatMap((id) => [
          send('a', subscribe(version, [[`seq/${n}`, 0]], id)),
          get('a', { type: 'suback', id }),
          send('a', packet(0xa2, bytes(id >> 8, id & 255), ...(version === 5 ? [bytes(0)] : []), text(`seq/${n}`))),
          get('a', { type: 'unsuback', id }),
          send('a', publish(version, `seq/${n}`, { qos: 1, id })),
          get('a', { type: 'puback', id }),
          send('a', publish(version, `seq/${n}`, { qos: 2, id })),
          get('a', { type: 'pubrec', id }),
          send('a', ack('pubrel', id)),
          get('a', { type: 'pubcomp', id }),
        ]),
      ],
    ),
    works(version, by(version, ['4.4.0-1'], ['4.4.0-1']), 'nothing is sent again on a connection that lives', (n) => [
      ...begin(n, 2),
      put(n, '1'),
      get('s', { type: 'publish', qos: 2, dup: false }),
      wait(1_500),
      sync('s'),
    ]),
    works(version, by(version, ['2.3.1-7'], ['4.13.1-1']), 'PUBACK to QoS 2 ends nothing', (n) => [
      ...begin(n, 2),
      put(n, '1'),
      get('s', { type: 'publish', qos: 2 }),
      answer('s', 'puback'),
      sync('s'),
      cut('s'),
      back(n),
      again('s'),
    ]),
    works(version, by(version, ['2.3.1-7'], ['4.13.1-1']), 'PUBREC to QoS 1 ends nothing', (n) => [
      ...begin(n, 1),
      put(n, '1'),
      get('s', { type: 'publish', qos: 1 }),
      answer('s', 'pubrec'),
      sync('s'),
      cut('s'),
      back(n),
      again('s'),
    ]),
  ]
})

const wills = both((version) => {
  const watch = (n: string, qos = 2, options = 0): readonly Step[] => [
    join('w', `${n}w`),
    send('w', subscribe(version, [[`seq/${n}/#`, qos | options]])),
    get('w', { type: 'suback', codes: [qos] }),
  ]
  const published = by(version, ['3.1.2-8', '3.1.2-9'], ['3.1.2-7', '3.1.2-8', '3.1.2-9'])
  return [
    ...[0, 1, 2].flatMap((qos) =>
      [false, true].map((retain) =>
        works(
          version,
          [
            ...published,
            ...(retain ? by(version, ['3.1.2-17'], ['3.1.2-15']) : by(version, ['3.1.2-16'], ['3.1.2-14'])),
          ],
          `a will with QoS ${qos}${retain ? ' and retain' : ''} is published when the connection is lost`,
          (n) => [
            ...watch(n),
            join('a', n, { will: { topic: `seq/${n}/will`, payload: 'gone', qos, retain } }),
            cut('a'),
            get('w', { type: 'publish', topic: `seq/${n}/will`, payload: 'gone', qos, retain: false }),
            join('x', `${n}x`),
            send('x', subscribe(version, [[`seq/${n}/will`, 0]])),
            ...(retain
              ? [gather('x', { type: 'suback' }, { type: 'publish', payload: 'gone', retain: true })]
              : [get('x', { type: 'suback' }), sync('x')]),
          ],
        ),
      ),
    ),
    works(version, by(version, ['3.1.2-10', '3.14.4-3'], ['3.1.2-10', '3.14.4-3']), 'no will after DISCONNECT', (n) => [
      ...watch(n),
      join('a', n, { will: { topic: `seq/${n}/will` } }),
      send('a', disconnect()),
      closed('a'),
      send('w', publish(version, `seq/${n}/end`)),
      get('w', { type: 'publish', topic: `seq/${n}/end` }),
    ]),
    works(version, by(version, ['3.1.2-10'], ['3.1.2-10']), 'a will is published once', (n) => [
      ...watch(n),
      join('a', n, {
        ...kept(version),
        will: { topic: `seq/${n}/will`, ...(version === 5 && { properties: [prop(0x18, u32(0))] }) },
      }),
      cut('a'),
      get('w', { type: 'publish', topic: `seq/${n}/will` }),
      join('a', n, kept(version), { present: true }),
      cut('a'),
      join('a', n, kept(version), { present: true }),
      send('w', publish(version, `seq/${n}/end`)),
      get('w', { type: 'publish', topic: `seq/${n}/end` }),
    ]),
    works(version, by(version, ['3.1.2-12'], ['3.1.2-11']), 'no will that was not left', (n) => [
      ...watch(n),
      join('a', n),
      cut('a'),
      join('a', n),
      send('w', publish(version, `seq/${n}/end`)),
      get('w', { type: 'publish', topic: `seq/${n}/end` }),
    ]),
    works(version, published, 'a will after a protocol error', (n) => [
      ...watch(n),
      join('a', n, { will: { topic: `seq/${n}/will` } }),
      send('a', bytes(0x36, 0)),
      dismissed('a', [0x81, 0x82]),
      get('w', { type: 'publish', topic: `seq/${n}/will` }),
    ]),
    works(
      version,
      [...published, ...by(version, ['3.1.2-24', '3.1.4-2'], ['3.1.2-22'])],
      'a will after silence',
      (n) => [
        ...watch(n),
        join('a', n, { keepAlive: 1, will: { topic: `seq/${n}/will` } }),
        get('w', { type: 'publish', topic: `seq/${n}/will` }),
      ],
    ),
    works(
      version,
      [...published, ...by(version, ['3.1.4-2'], ['3.1.4-3'])],
      'a will when another client takes the id',
      (n) => [
        ...watch(n),
        join('a', n, { will: { topic: `seq/${n}/will` } }),
        join('b', n),
        get('w', { type: 'publish', topic: `seq/${n}/will` }),
      ],
    ),
    fails(
      version,
      by(version, ['3.1.3-10', '4.7.3-1', '3.3.2-2'], ['3.1.3-11', '4.7.3-1', '3.3.2-2']),
      'a will topic that is none',
      (n) => [
        ...['', '#', 'a/+'].flatMap((topic, at) => [
          send(`a${at}`, connect(version, `${n}${at}`, { will: { topic } })),
          (play: Parameters<Step>[0]) => play.client(`a${at}`).refused(version === 5 ? [0x81, 0x82, 0x90] : []),
        ]),
      ],
    ),
  ]
})

const willsOf5: readonly Case[] = [
  works(5, ['3.1.2-10', '3.1.2-8', '3.14.4-3'], 'DISCONNECT 0x04 publishes the will', (n) => [
    join('w', `${n}w`),
    send('w', subscribe(5, [[`seq/${n}`, 0]])),
    get('w', { type: 'suback' }),
    join('a', n, { will: { topic: `seq/${n}` } }),
    send('a', disconnect(0x04)),
    get('w', { type: 'publish', payload: 'will' }),
  ]),
  works(5, ['3.1.3-10', '3.1.2-9', '3.3.2-18'], 'a will comes with its properties, in order', (n) => [
    join('w', `${n}w`),
    send('w', subscribe(5, [[`seq/${n}`, 0]])),
    get('w', { type: 'suback' }),
    join('a', n, {
      will: {
        topic: `seq/${n}`,
        properties: [
          user('b', '1'),
          prop(3, text('t')),
          user('a', '2'),
          prop(8, text('r/s')),
          user('b', '1'),
          prop(9, binary('c')),
          prop(1, bytes(1)),
        ],
      },
    }),
    cut('a'),
    get('w', {
      type: 'publish',
      properties: {
        1: [1],
        3: ['t'],
        8: ['r/s'],
        9: [Buffer.from('c')],
        38: [
          ['b', '1'],
          ['a', '2'],
          ['b', '1'],
        ],
      },
    }),
  ]),
  works(5, ['3.1.3-9', '3.1.2-8'], 'a will waits for its delay', (n) => [
    join('w', `${n}w`),
    send('w', subscribe(5, [[`seq/${n}`, 0]])),
    get('w', { type: 'suback' }),
    join('a', n, { properties: [prop(0x11, u32(60))], will: { topic: `seq/${n}`, properties: [prop(0x18, u32(1))] } }),
    cut('a'),
    wait(500),
    sync('w'),
    get('w', { type: 'publish', payload: 'will' }),
  ]),
  works(5, ['3.1.3-9'], 'who is back before the delay leaves no will', (n) => [
    join('w', `${n}w`),
    send('w', subscribe(5, [[`seq/${n}`, 0]])),
    get('w', { type: 'suback' }),
    join('a', n, { properties: [prop(0x11, u32(60))], will: { topic: `seq/${n}`, properties: [prop(0x18, u32(1))] } }),
    cut('a'),
    join('a', n, { clean: false, properties: [prop(0x11, u32(60))] }, { present: true }),
    wait(1_700),
    sync('w'),
  ]),
  works(5, ['3.1.3-9', '3.1.2-8'], 'a will does not outwait its session', (n) => [
    join('w', `${n}w`),
    send('w', subscribe(5, [[`seq/${n}`, 0]])),
    get('w', { type: 'suback' }),
    join('a', n, { will: { topic: `seq/${n}`, properties: [prop(0x18, u32(600))] } }),
    cut('a'),
    get('w', { type: 'publish', payload: 'will' }),
  ]),
  fails(5, ['3.14.2-2', '4.13.1-1'], 'a session expiry that was 0 stays 0', (n) => [
    join('a', n),
    send('a', disconnect(0, [prop(0x11, u32(10))])),
    dismissed('a', [0x82]),
  ]),
  works(5, ['3.1.2-23', '3.14.4-1'], 'DISCONNECT may end the session', (n) => [
    join('a', n, { clean: false, properties: [prop(0x11, u32(60))] }),
    send('a', disconnect(0, [prop(0x11, u32(0))])),
    closed('a'),
    join('b', n, { clean: false, properties: [prop(0x11, u32(60))] }, { present: false }),
  ]),
]

const leaving = both((version) => [
  works(
    version,
    ['3.14.4-1', '3.14.4-2', ...(version === 5 ? ['3.14.1-1'] : ['3.14.1-1'])],
    'nothing behind DISCONNECT is worked on',
    (n) => [
      join('w', `${n}w`),
      send('w', subscribe(version, [[`seq/${n}`, 0]])),
      get('w', { type: 'suback' }),
      join('a', n),
      send('a', disconnect(), publish(version, `seq/${n}`, { payload: 'no' }), pingreq),
      closed('a'),
      send('w', publish(version, `seq/${n}`, { payload: 'yes' })),
      get('w', { type: 'publish', payload: 'yes' }),
    ],
  ),
])

const method = prop(0x15, text('PROBE'))
const data = (value: string): Buffer => prop(0x16, binary(value))
const asked = (n: string): readonly Step[] => [
  send('a', connect(5, n, { properties: [method, data('ask')] })),
  get('a', { type: 'auth', reason: 0x18, properties: { 21: ['PROBE'], 22: [Buffer.from('challenge 0')] } }),
]
const authentication: readonly Case[] = [
  works(
    5,
    ['4.12.0-2', '4.12.0-3', '4.12.0-5', '3.15.2-1', '3.1.2-30', '3.15.1-1'],
    'a challenge, its answer, CONNACK',
    (n) => [
      ...asked(n),
      send('a', auth(0x18, [method, data('yes')])),
      get('a', { type: 'connack', reason: 0, properties: { 21: ['PROBE'] } }),
      sync('a'),
    ],
  ),
  works(5, ['4.12.0-2', '4.12.0-3', '4.12.0-5'], 'three challenges', (n) => [
    ...asked(n),
    send('a', auth(0x18, [method, data('ask')])),
    get('a', { type: 'auth', reason: 0x18, properties: { 22: [Buffer.from('challenge 1')] } }),
    send('a', auth(0x18, [method, data('ask')])),
    get('a', { type: 'auth', reason: 0x18, properties: { 22: [Buffer.from('challenge 2')] } }),
    send('a', auth(0x18, [method, data('yes')])),
    get('a', { type: 'connack', reason: 0, properties: { 21: ['PROBE'] } }),
  ]),
  works(5, ['4.12.0-5'], 'a proof that needs no challenge', (n) => [
    join('a', n, { properties: [method, data('yes')] }, { properties: { 21: ['PROBE'] } }),
  ]),
  fails(5, ['4.12.0-4', '4.13.2-1'], 'a wrong answer', (n) => [
    ...asked(n),
    send('a', auth(0x18, [method, data('no')])),
    get('a', { type: 'connack', reason: [0x86, 0x87], present: false }),
    closed('a'),
  ]),
  works(5, ['4.12.0-4'], 'a client may leave its authentication', (n) => [
    ...asked(n),
    send('a', disconnect()),
    closed('a'),
  ]),
  fails(5, ['4.12.0-5', '4.12.0-3'], 'another method in the answer', (n) => [
    ...asked(n),
    send('a', auth(0x18, [prop(0x15, text('OTHER')), data('yes')])),
    (play) => play.client('a').refused([0x81, 0x82, 0x8c, 0x87]),
  ]),
  fails(5, ['4.12.0-3'], 'an answer with the reason of a new authentication', (n) => [
    ...asked(n),
    send('a', auth(0x19, [method, data('yes')])),
    (play) => play.client('a').refused([0x81, 0x82, 0x87]),
  ]),
  ...(
    [
      ['PINGREQ', () => pingreq],
      ['PUBLISH', (n: string) => publish(5, `seq/${n}`)],
      ['SUBSCRIBE', (n: string) => subscribe(5, [[`seq/${n}`, 0]])],
      ['PUBREL', () => ack('pubrel', 1)],
    ] as const
  ).map(([name, make]) =>
    fails(5, ['3.1.2-30'], `${name} in the middle of an authentication`, (n) => [
      ...asked(n),
      send('a', make(n)),
      (play) => play.client('a').refused([0x81, 0x82]),
    ]),
  ),
  fails(5, ['4.12.0-1'], 'a method that is not known', (n) => [
    send('a', connect(5, n, { properties: [prop(0x15, text('NONE')), data('yes')] })),
    get('a', { type: 'connack', reason: 0x8c, present: false }),
    closed('a'),
  ]),
  {
    ...fails(5, ['4.12.0-1'], 'a method where none is known', (n) => [
      send('a', connect(5, n, { properties: [method, data('yes')] })),
      get('a', { type: 'connack', reason: 0x8c, present: false }),
      closed('a'),
    ]),
    at: 'bare' as const,
  },
  ...[0x18, 0x19].map((reason) =>
    fails(5, ['4.12.0-6', '4.12.0-7', '4.13.1-1'], `AUTH ${reason} from a client without a method`, (n) => [
      join('a', n, {}, { properties: { 21: [], 22: [] } }),
      send('a', auth(reason, [method, data('yes')])),
      dismissed('a', [0x82]),
    ]),
  ),
  works(5, ['4.12.0-7', '4.12.0-6'], 'a client without a method is not sent AUTH', (n) => [
    join('a', n, {}, { properties: { 21: [], 22: [] } }),
    sync('a'),
  ]),
  works(5, ['4.12.1-1', '4.12.0-5', '3.15.2-2', '3.15.2-3'], 'a second authentication on the same connection', (n) => [
    join('a', n, { properties: [method, data('yes')] }),
    send('a', auth(0x19, [method, data('ask')])),
    get('a', { type: 'auth', reason: 0x18, properties: { 21: ['PROBE'], 31: [], 38: [] } }),
    sync('a'),
    send('a', auth(0x18, [method, data('yes')])),
    get('a', { type: 'auth', reason: 0, properties: { 21: ['PROBE'] } }),
    sync('a'),
  ]),
  fails(5, ['4.12.1-1', '4.12.0-5'], 'a second authentication with another method', (n) => [
    join('a', n, { properties: [method, data('yes')] }),
    send('a', auth(0x19, [prop(0x15, text('OTHER')), data('yes')])),
    dismissed('a', [0x82, 0x81, 0x87]),
  ]),
  fails(5, ['4.12.1-2', '4.13.2-1'], 'a second authentication that fails', (n) => [
    join('a', n, { properties: [method, data('yes')] }),
    send('a', auth(0x19, [method, data('no')])),
    dismissed('a', [0x87, 0x86]),
  ]),
  works(5, ['3.14.2-1', '3.14.2-3', '3.14.2-4', '3.1.2-24'], 'DISCONNECT keeps within the client’s packets', (n) => [
    join('a', n, { properties: [prop(0x27, u32(24))] }),
    send('a', publish(5, '')),
    get('a', { type: 'disconnect', within: 24 }),
    closed('a'),
  ]),
]

export const sessions: readonly Case[] = [...wills, ...willsOf5, ...resumed, ...leaving, ...authentication]

import {
  answer,
  both,
  breaks,
  type Case,
  dismissed,
  fails,
  gather,
  get,
  getFor,
  join,
  send,
  sync,
  works,
} from '../case.ts'
import { ack, bytes, packet, prop, publish, subscribe, text, u16, u32, user, type Version, varint } from '../packets.ts'

const by = (version: Version, four: readonly string[], five: readonly string[]) => (version === 4 ? four : five)
const law = (version: Version) => by(version, ['4.8.0-1'], ['4.13.1-1'])
const answers = ['', 'puback', 'pubrec']

/** Published QoS × granted QoS × retain × DUP. */
const matrix = both((version) =>
  [0, 1, 2].flatMap((qos) =>
    [0, 1, 2].flatMap((granted) =>
      [false, true].flatMap((retain) =>
        [false, true]
          .filter((dup) => !(dup && qos === 0))
          .map((dup) =>
            works(
              version,
              [
                '3.3.4-1',
                '3.3.1-3',
                '3.3.2-3',
                '4.5.0-1',
                ...by(version, ['3.8.4-6', '3.3.1-9', '2.3.1-6'], ['3.8.4-8', '3.3.1-12', '2.2.1-5']),
                ...(Math.min(qos, granted) === 0
                  ? ['4.3.1-1', ...by(version, ['3.3.1-2', '2.3.1-5'], ['3.3.1-2', '2.2.1-2'])]
                  : by(version, ['2.3.1-4'], ['2.2.1-4'])),
                ...(qos === 1 ? by(version, ['4.3.2-2'], ['4.3.2-4']) : []),
                ...(qos === 2 ? by(version, ['4.3.3-2'], ['4.3.3-8', '4.3.3-11']) : []),
                ...(Math.min(qos, granted) === 1 ? by(version, ['4.3.2-1'], ['4.3.2-1', '4.3.2-2', '3.3.1-1']) : []),
                ...(Math.min(qos, granted) === 2 ? by(version, ['4.3.3-1'], ['4.3.3-1', '4.3.3-2', '4.3.3-4']) : []),
              ],
              `QoS ${qos} to a subscription of QoS ${granted}${retain ? ', retain' : ''}${dup ? ', DUP' : ''}`,
              (n) => {
                const out = Math.min(qos, granted)
                const topic = `seq/${n}`
                return [
                  join('s', `${n}s`),
                  send('s', subscribe(version, [[topic, granted]], 77)),
                  get('s', { type: 'suback', id: 77, codes: [granted] }),
                  join('p', `${n}p`),
                  send('p', publish(version, topic, { qos, retain, dup, id: 300, payload: n })),
                  ...(qos > 0 ? [get('p', { type: answers[qos]!, id: 300, reason: 0 })] : []),
                  ...(qos === 2
                    ? [send('p', ack('pubrel', 300)), get('p', { type: 'pubcomp', id: 300, reason: 0 })]
                    : []),
                  get('s', { type: 'publish', topic, payload: n, qos: out, dup: false, retain: false }),
                  ...(out === 1 ? [answer('s', 'puback')] : []),
                  ...(out === 2 ? [answer('s', 'pubrec'), getFor('s', 'pubrel'), answer('s', 'pubcomp')] : []),
                  sync('s'),
                  sync('p'),
                ]
              },
            ),
          ),
      ),
    ),
  ),
)

const wrong = both((version) => [
  ...[0, 1].flatMap((retain) =>
    [0, 8].map((dup) =>
      breaks(
        version,
        ['3.3.1-4', ...law(version)],
        `QoS 3${dup ? ', DUP' : ''}${retain ? ', retain' : ''}`,
        (n) => packet(0x36 | dup | retain, text(`seq/${n}`), u16(1), ...(version === 5 ? [bytes(0)] : [])),
        [0x81],
      ),
    ),
  ),
  ...[false, true].map((retain) =>
    breaks(
      version,
      ['3.3.1-2', ...law(version)],
      `DUP with QoS 0${retain ? ' and retain' : ''}`,
      (n) => publish(version, `seq/${n}`, { dup: true, retain }),
      [0x81, 0x82],
    ),
  ),
  ...[1, 2].flatMap((qos) =>
    [false, true].map((dup) =>
      breaks(
        version,
        by(version, ['2.3.1-1', '4.8.0-1'], ['2.2.1-3', '4.13.1-1']),
        `packet id 0 with QoS ${qos}${dup ? ' and DUP' : ''}`,
        (n) => publish(version, `seq/${n}`, { qos, dup, id: 0 }),
      ),
    ),
  ),
  ...(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).map((type) =>
    breaks(
      version,
      by(version, ['2.3.1-1', '4.8.0-1'], ['2.2.1-3', '4.13.1-1']),
      `packet id 0 of ${type.toUpperCase()}`,
      () => ack(type, 0),
    ),
  ),
  ...[0, 1, 2].flatMap((qos) =>
    ['#', '+', 'a/#', 'a/+', 'a/+/b', '+/a', 'a#', 'a+b', '/#', '$x/#'].map((topic) =>
      breaks(
        version,
        by(version, ['3.3.2-2', '4.7.1-1'], ['3.3.2-2', '4.7.0-1']),
        `the topic name ${topic} with QoS ${qos}`,
        () => publish(version, topic, { qos }),
        [0x81, 0x82, 0x90],
      ),
    ),
  ),
  ...[0, 1, 2].map((qos) =>
    breaks(
      version,
      ['4.7.3-1'],
      `an empty topic name with QoS ${qos}`,
      () => publish(version, '', { qos }),
      [0x81, 0x82, 0x90],
    ),
  ),
])

const topics = ['/', '//', 'a', '/a', 'a/', 'a//b', ' ', 'a b', '$own', '$own/x', 'A', 'seq/ÄÖÜ', 'x'.repeat(300)]
const named = both((version) =>
  topics.map((topic) =>
    works(version, ['4.7.3-1', '4.7.3-4', '3.3.2-3'], `the topic ${topic.slice(0, 12)} is what it is`, (n) => {
      const name = topic.startsWith('seq') ? `${topic}/${n}` : `${topic}/${n}`
      return [
        join('a', n),
        send('a', subscribe(version, [[name, 0]])),
        get('a', { type: 'suback', codes: [0] }),
        // What a normalizing server would take for the same.
        send(
          'a',
          publish(version, `/${name}`, { payload: 'no' }),
          publish(version, `${name}/`, { payload: 'no' }),
          publish(version, name.toUpperCase().replace('S', 's') === name ? `${name}x` : name.toUpperCase(), {
            payload: 'no',
          }),
        ),
        send('a', publish(version, name, { payload: 'yes' })),
        get('a', { type: 'publish', topic: name, payload: 'yes' }),
      ]
    }),
  ),
)

const order = both((version) => [
  works(version, ['4.6.0-2', '4.6.0-3'], 'a refusal does not overtake what is stored before it', (n) => [
    join('a', n),
    send(
      'a',
      ...[1, 2, 3, 4, 5, 6].map((id) =>
        publish(version, id % 2 === 0 ? '$SYS/no' : `seq/${n}`, { qos: id < 4 ? 1 : 2, id }),
      ),
    ),
    ...[1, 2, 3, 4, 5, 6].map((id) =>
      get('a', {
        type: id < 4 ? 'puback' : 'pubrec',
        id,
        ...(version === 5 && { reason: id % 2 === 0 ? 0x87 : [0, 0x10] }),
      }),
    ),
  ]),
  ...([1, 2] as const).map((qos) =>
    works(
      version,
      qos === 1 ? ['4.6.0-2'] : ['4.6.0-3', '4.6.0-4'],
      `answers to 50 pipelined QoS ${qos} publishes come in order`,
      (n) => {
        const all = Array.from({ length: 50 }, (_, at) => 1_000 - at * 3)
        return [
          join('a', n),
          send('a', ...all.map((id) => publish(version, `seq/${n}`, { qos, id }))),
          ...all.map((id) => get('a', { type: answers[qos]!, id, reason: [0, 0x10] })),
          ...(qos === 2
            ? [
                send('a', ...all.map((id) => ack('pubrel', id))),
                ...all.map((id) => get('a', { type: 'pubcomp', id, reason: 0 })),
              ]
            : []),
        ]
      },
    ),
  ),
  ...([0, 1, 2] as const).map((qos) =>
    works(
      version,
      ['4.6.0-5', '4.6.0-6', '4.5.0-1'],
      `40 messages of QoS ${qos} reach two subscribers in order`,
      (n) => {
        const all = Array.from({ length: 40 }, (_, at) => at + 1)
        return [
          ...['s', 't'].flatMap((who) => [
            join(who, `${n}${who}`),
            send(who, subscribe(version, [[`seq/${n}/+`, qos]])),
            get(who, { type: 'suback', codes: [qos] }),
          ]),
          join('p', `${n}p`),
          send('p', ...all.map((id) => publish(version, `seq/${n}/x`, { qos, id, payload: String(id) }))),
          ...['s', 't'].flatMap((who) => all.map((id) => get(who, { type: 'publish', payload: String(id), qos }))),
        ]
      },
    ),
  ),
  works(
    version,
    by(version, ['4.6.0-4', '4.3.3-1'], ['4.6.0-4', '4.3.3-4']),
    'PUBRELs follow the order of PUBRECs',
    (n) => {
      const all = Array.from({ length: 10 }, (_, at) => at + 1)
      return [
        join('s', `${n}s`),
        send('s', subscribe(version, [[`seq/${n}`, 2]])),
        get('s', { type: 'suback', codes: [2] }),
        join('p', `${n}p`),
        send('p', ...all.map((id) => publish(version, `seq/${n}`, { qos: 2, id, payload: String(id) }))),
        ...all.map((id) => get('s', { type: 'publish', payload: String(id), qos: 2 })),
        (play) => {
          const client = play.client('s')
          client.send(...all.map((id) => ack('pubrec', client.published(10 - id).id!)))
        },
        ...all.map((id) => async (play: Parameters<ReturnType<typeof sync>>[0]) => {
          const client = play.client('s')
          await client.get({ type: 'pubrel', id: client.published(10 - id).id!, reason: 0 })
        }),
      ]
    },
  ),
])

const once = both((version) => [
  works(
    version,
    by(version, ['4.3.3-2', '2.3.1-6'], ['4.3.3-8', '4.3.3-10', '2.2.1-5']),
    'a repeated QoS 2 id is answered and not delivered again',
    (n) => [
      join('s', `${n}s`),
      send('s', subscribe(version, [[`seq/${n}`, 0]])),
      get('s', { type: 'suback', codes: [0] }),
      join('p', `${n}p`),
      send('p', publish(version, `seq/${n}`, { qos: 2, id: 4, payload: 'one' })),
      get('p', { type: 'pubrec', id: 4, reason: 0 }),
      send(
        'p',
        publish(version, `seq/${n}`, { qos: 2, id: 4, payload: 'one', dup: true }),
        publish(version, `seq/${n}`, { qos: 2, id: 4, payload: 'one' }),
      ),
      get('p', { type: 'pubrec', id: 4, reason: 0 }),
      get('p', { type: 'pubrec', id: 4, reason: 0 }),
      send('p', ack('pubrel', 4)),
      get('p', { type: 'pubcomp', id: 4, reason: 0 }),
      send('p', publish(version, `seq/${n}`, { qos: 1, id: 4, payload: 'two' })),
      get('p', { type: 'puback', id: 4, reason: 0 }),
      get('s', { type: 'publish', payload: 'one' }),
      get('s', { type: 'publish', payload: 'two' }),
      sync('s'),
    ],
  ),
  works(
    version,
    by(version, ['4.3.3-2', '2.3.1-3'], ['4.3.3-12', '4.3.3-11']),
    'after PUBCOMP the id is a new message',
    (n) => [
      join('s', `${n}s`),
      send('s', subscribe(version, [[`seq/${n}`, 0]])),
      get('s', { type: 'suback', codes: [0] }),
      join('p', `${n}p`),
      ...['one', 'two'].flatMap((payload) => [
        send('p', publish(version, `seq/${n}`, { qos: 2, id: 4, payload })),
        get('p', { type: 'pubrec', id: 4 }),
        send('p', ack('pubrel', 4)),
        get('p', { type: 'pubcomp', id: 4 }),
        get('s', { type: 'publish', payload }),
      ]),
    ],
  ),
  works(
    version,
    by(version, ['4.3.2-2', '2.3.1-2', '2.3.1-3'], ['4.3.2-5', '2.2.1-3']),
    'after PUBACK the id is a new message, DUP or not',
    (n) => [
      join('s', `${n}s`),
      send('s', subscribe(version, [[`seq/${n}`, 0]])),
      get('s', { type: 'suback', codes: [0] }),
      join('p', `${n}p`),
      ...[false, true, false].flatMap((dup, at) => [
        send('p', publish(version, `seq/${n}`, { qos: 1, id: 4, payload: String(at), dup })),
        get('p', { type: 'puback', id: 4, reason: 0 }),
        get('s', { type: 'publish', payload: String(at) }),
      ]),
    ],
  ),
  works(version, by(version, ['4.3.3-2'], ['4.3.3-11', '3.7.2-1']), 'PUBREL of an unknown id gets PUBCOMP', (n) => [
    join('a', n),
    send('a', ack('pubrel', 99)),
    get('a', { type: 'pubcomp', id: 99, ...(version === 5 && { reason: 0x92 }) }),
  ]),
  ...(['puback', 'pubcomp'] as const).map((type) =>
    works(version, law(version), `${type.toUpperCase()} of an unknown id hurts nobody`, (n) => [
      join('a', n),
      send('a', ack(type, 99)),
      sync('a'),
    ]),
  ),
  works(
    version,
    by(version, ['3.3.5-2'], ['3.4.2-1', '4.13.2-1']),
    'what may not be published is acknowledged or refused, and goes nowhere',
    (n) => [
      join('a', n),
      send('a', subscribe(version, [['$SYS/#', 0]])),
      get('a', { type: 'suback' }),
      send('a', publish(version, `$SYS/${n}`, { qos: 1, id: 3 })),
      get('a', { type: 'puback', id: 3, ...(version === 5 && { reason: 0x87 }) }),
      send('a', publish(version, `$SYS/${n}`, { qos: 2, id: 4 })),
      get('a', { type: 'pubrec', id: 4, ...(version === 5 && { reason: 0x87 }) }),
      sync('a'),
    ],
  ),
])

const forwarded: readonly (readonly [
  string,
  readonly string[],
  Buffer,
  Readonly<Record<number, readonly unknown[]>>,
])[] = [
  ['payload format 0', ['3.3.2-4'], prop(1, bytes(0)), { 1: [] }],
  ['payload format 1', ['3.3.2-4'], prop(1, bytes(1)), { 1: [1] }],
  ['content type', ['3.3.2-20'], prop(3, text('text/plain; x')), { 3: ['text/plain; x'] }],
  ['empty content type', ['3.3.2-20'], prop(3, text('')), { 3: [''] }],
  ['response topic', ['3.3.2-15'], prop(8, text('/answers//to me')), { 8: ['/answers//to me'] }],
  [
    'correlation data',
    ['3.3.2-16'],
    prop(9, Buffer.concat([u16(4), bytes(0, 255, 1, 128)])),
    { 9: [Buffer.of(0, 255, 1, 128)] },
  ],
  ['empty correlation data', ['3.3.2-16'], prop(9, u16(0)), { 9: [Buffer.alloc(0)] }],
  [
    'user properties',
    ['3.3.2-17', '3.3.2-18'],
    Buffer.concat([user('b', '1'), user('a', '2'), user('b', '1'), user('', ''), user('1', 'x')]),
    {
      38: [
        ['b', '1'],
        ['a', '2'],
        ['b', '1'],
        ['', ''],
        ['1', 'x'],
      ],
    },
  ],
]
const forwarding: readonly Case[] = [
  ...forwarded.flatMap(([name, ids, raw, expected]) =>
    [0, 1, 2].map((qos) =>
      works(5, ids, `${name} arrives unaltered with QoS ${qos}`, (n) => [
        join('s', `${n}s`),
        send('s', subscribe(5, [[`seq/${n}`, 2]])),
        get('s', { type: 'suback', codes: [2] }),
        join('p', `${n}p`),
        send('p', publish(5, `seq/${n}`, { qos, properties: [raw] })),
        get('s', { type: 'publish', properties: expected, qos }),
      ]),
    ),
  ),
  ...['a/#', '+', 'a/+/b', '#', ''].map((topic) =>
    breaks(
      5,
      ['3.3.2-14', '4.13.1-1'],
      `the response topic “${topic}”`,
      (n) => publish(5, `seq/${n}`, { properties: [prop(8, text(topic))] }),
      [0x81, 0x82, 0x90],
    ),
  ),
  fails(5, ['3.3.2-4', '3.4.2-1', '3.5.2-1'], 'a payload that is not the text it claims to be', (n) => [
    join('a', n),
    send('a', publish(5, `seq/${n}`, { qos: 1, properties: [prop(1, bytes(1))], payload: bytes(0xff) })),
    get('a', { type: 'puback', reason: 0x99 }),
    send('a', publish(5, `seq/${n}`, { qos: 2, properties: [prop(1, bytes(1))], payload: bytes(0xff) })),
    get('a', { type: 'pubrec', reason: 0x99 }),
  ]),
  works(5, ['4.3.3-9'], 'after a PUBREC that refuses the id is a new message', (n) => [
    join('a', n),
    send('a', subscribe(5, [[`seq/${n}`, 0]])),
    get('a', { type: 'suback' }),
    send('a', publish(5, '$SYS/no', { qos: 2, id: 8 })),
    get('a', { type: 'pubrec', id: 8, reason: 0x87 }),
    send('a', publish(5, `seq/${n}`, { qos: 2, id: 8 })),
    gather('a', { type: 'pubrec', id: 8, reason: 0 }, { type: 'publish' }),
  ]),
  ...(
    [
      ['puback', 1, '3.4.2'],
      ['pubrec', 2, '3.5.2'],
    ] as const
  ).map(([type, qos, section]) =>
    works(
      5,
      [`${section}-2`, `${section}-3`, '3.1.2-24'],
      `the refusal of ${type.toUpperCase()} keeps within the client’s packets`,
      (n) => [
        join('a', n, { properties: [prop(0x27, u32(30))] }),
        send('a', publish(5, '$SYS/no', { qos })),
        get('a', { type, reason: 0x87, within: 30 }),
      ],
    ),
  ),
  works(
    5,
    ['3.7.2-2', '3.7.2-3', '3.6.2-1', '3.6.2-2', '3.6.2-3'],
    'PUBCOMP and PUBREL keep within the client’s packets',
    (n) => [
      join('a', n, { properties: [prop(0x27, u32(20))] }),
      send('a', ack('pubrel', 9)),
      get('a', { type: 'pubcomp', reason: 0x92, within: 20 }),
      send('a', ack('pubrec', 9)),
      get('a', { type: 'pubrel', reason: 0x92, within: 20 }),
    ],
  ),
  works(5, ['3.1.2-29'], 'no reason strings for who wants none, but in CONNACK and DISCONNECT', (n) => [
    join('a', n, { properties: [prop(0x17, bytes(0))] }),
    send('a', publish(5, '$SYS/no', { qos: 1 })),
    get('a', { type: 'puback', reason: 0x87, properties: { 31: [], 38: [] } }),
    send('a', publish(5, '$SYS/no', { qos: 2 })),
    get('a', { type: 'pubrec', reason: 0x87, properties: { 31: [], 38: [] } }),
  ]),
  ...[1, 2, 17, 268_435_455].map((id) =>
    breaks(5, ['3.3.4-6', '4.13.1-1'], `the subscription identifier ${id} from a client`, (n) =>
      publish(5, `seq/${n}`, { properties: [prop(0x0b, varint(id))] }),
    ),
  ),
]

/** Aliases from a client: 16 are taken. */
const aliases: readonly Case[] = [
  ...[17, 18, 65_535].map((alias) =>
    breaks(
      5,
      ['3.3.2-9', '3.2.2-17', '4.13.1-1'],
      `the topic alias ${alias}, above the maximum`,
      (n) => publish(5, `seq/${n}`, { properties: [prop(0x23, u16(alias))] }),
      [0x94],
    ),
  ),
  ...[1, 16].map((alias) =>
    breaks(
      5,
      ['3.3.2-7', '4.13.1-1'],
      `the topic alias ${alias}, which stands for nothing`,
      () => publish(5, '', { properties: [prop(0x23, u16(alias))] }),
      [0x82],
    ),
  ),
  breaks(
    5,
    ['3.3.2-8', '4.13.1-1'],
    'the topic alias 0 without a topic',
    () => publish(5, '', { properties: [prop(0x23, u16(0))] }),
    [0x94, 0x82],
  ),
  {
    ...breaks(
      5,
      ['3.2.2-18', '3.3.2-9'],
      'a topic alias where none are taken',
      (n) => publish(5, `seq/${n}`, { properties: [prop(0x23, u16(1))] }),
      [0x94],
    ),
    at: 'bare',
  },
  ...[1, 8, 16].flatMap((alias) =>
    [0, 1, 2].map((qos) =>
      works(5, ['3.3.2-10', '3.2.2-17'], `the topic alias ${alias} with QoS ${qos}`, (n) => [
        join('a', n),
        send('a', subscribe(5, [[`seq/${n}/#`, 0]])),
        get('a', { type: 'suback' }),
        join('p', `${n}p`),
        send(
          'p',
          publish(5, `seq/${n}/x`, { qos, id: 1, payload: '1', properties: [prop(0x23, u16(alias))] }),
          publish(5, '', { qos, id: 2, payload: '2', properties: [prop(0x23, u16(alias))] }),
          publish(5, `seq/${n}/y`, { qos, id: 3, payload: '3', properties: [prop(0x23, u16(alias))] }),
          publish(5, '', { qos, id: 4, payload: '4', properties: [prop(0x23, u16(alias))] }),
        ),
        get('a', { type: 'publish', topic: `seq/${n}/x`, payload: '1', properties: { 35: [] } }),
        get('a', { type: 'publish', topic: `seq/${n}/x`, payload: '2' }),
        get('a', { type: 'publish', topic: `seq/${n}/y`, payload: '3' }),
        get('a', { type: 'publish', topic: `seq/${n}/y`, payload: '4' }),
      ]),
    ),
  ),
  fails(5, ['3.3.2-7'], 'an alias of an earlier connection is not known', (n) => [
    join('a', n, { clean: false, properties: [prop(0x11, u32(60))] }),
    send('a', publish(5, `seq/${n}`, { properties: [prop(0x23, u16(3))] })),
    sync('a'),
    join('a', n, { clean: false, properties: [prop(0x11, u32(60))] }, { present: true }),
    send('a', publish(5, '', { properties: [prop(0x23, u16(3))] })),
    dismissed('a', [0x82]),
  ]),
  ...[0, 1, 2, 30].map((max) =>
    works(
      5,
      max === 0 ? ['3.1.2-27', '3.3.2-12'] : ['3.1.2-26', '3.3.2-11', '3.3.2-8'],
      `a client that takes ${max} aliases gets no greater ones`,
      (n) => [
        join('s', `${n}s`, max === 0 ? {} : { properties: [prop(0x22, u16(max))] }),
        send('s', subscribe(5, [[`seq/${n}/#`, 0]])),
        get('s', { type: 'suback' }),
        join('p', `${n}p`),
        send('p', ...Array.from({ length: 40 }, (_, at) => publish(5, `seq/${n}/${at % 20}`, { payload: String(at) }))),
        async (play) => {
          const told = new Map<unknown, string>()
          for (let at = 0; at < 40; at++) {
            await play.client('s').get({ type: 'publish', payload: String(at) })
            const { topic, properties } = play.client('s').published(0)
            const alias = properties.get(0x23)?.[0] as number | undefined
            if (alias !== undefined && (alias < 1 || alias > max)) throw new Error(`alias ${alias} of ${max}`)
            if (alias !== undefined && topic !== '') told.set(alias, topic!)
            const name = topic === '' ? told.get(alias) : topic
            if (name !== `seq/${n}/${at % 20}`) throw new Error(`${at} went to ${name}`)
          }
        },
      ],
    ),
  ),
]

/** Three at a time. */
const flow: readonly Case[] = [
  {
    ...fails(5, ['3.3.4-7', '4.13.1-1', '4.13.2-1'], 'a fourth QoS 2 publish before any PUBREL', (n) => [
      join('a', n),
      ...[1, 2, 3].flatMap((id) => [
        send('a', publish(5, `seq/${n}`, { qos: 2, id })),
        get('a', { type: 'pubrec', id }),
      ]),
      send('a', publish(5, `seq/${n}`, { qos: 2, id: 4 })),
      dismissed('a', [0x93]),
    ]),
    at: 'bare',
  },
  {
    ...works(5, ['3.3.4-7', '4.9.0-2'], 'PUBCOMP, PUBACK and a refusing PUBREC make room again', (n) => [
      join('a', n),
      ...[1, 2, 3, 4, 5, 6, 7, 8].flatMap((id) => [
        send('a', publish(5, `seq/${n}`, { qos: 2, id })),
        get('a', { type: 'pubrec', id }),
        send('a', ack('pubrel', id)),
        get('a', { type: 'pubcomp', id }),
        send('a', publish(5, `seq/${n}`, { qos: 1, id: id + 20 })),
        get('a', { type: 'puback', id: id + 20 }),
        send('a', publish(5, '$SYS/no', { qos: 2, id: id + 40 })),
        get('a', { type: 'pubrec', id: id + 40, reason: 0x87 }),
      ]),
    ]),
    at: 'bare',
  },
  ...[1, 2, 5, 20].flatMap((max) =>
    ([1, 2] as const).map((qos) =>
      works(
        5,
        ['3.3.4-9', '4.9.0-1', '4.9.0-2', '4.9.0-3', '3.3.4-10', '3.3.1-1'],
        `a client with the receive maximum ${max} gets no more of QoS ${qos}`,
        (n) => [
          join('s', `${n}s`, { properties: [prop(0x21, u16(max))] }),
          send('s', subscribe(5, [[`seq/${n}`, qos]])),
          get('s', { type: 'suback', codes: [qos] }),
          join('p', `${n}p`),
          ...Array.from({ length: max + 2 }, (_, at) => [
            send('p', publish(5, `seq/${n}`, { qos, id: at + 1, payload: String(at) })),
            get('p', { type: answers[qos]!, id: at + 1 }),
          ]).flat(),
          ...Array.from({ length: max }, (_, at) =>
            get('s', { type: 'publish', payload: String(at), qos, dup: false }),
          ),
          sync('s'),
          ...(qos === 1
            ? [answer('s', 'puback')]
            : // PUBREC alone makes no room.
              [answer('s', 'pubrec'), getFor('s', 'pubrel'), sync('s'), answer('s', 'pubcomp')]),
          get('s', { type: 'publish', payload: String(max), dup: false }),
          sync('s'),
        ],
      ),
    ),
  ),
]

const sizes: readonly Case[] = [
  works(5, ['3.1.2-24', '3.1.2-25'], 'what is too large for a client is left out, the rest arrives', (n) => [
    join('s', `${n}s`, { properties: [prop(0x27, u32(100)), prop(0x21, u16(1))] }),
    send('s', subscribe(5, [[`seq/${n}`, 1]])),
    get('s', { type: 'suback', codes: [1] }),
    join('p', `${n}p`),
    ...['a', 'x'.repeat(200), 'b', 'y'.repeat(100), 'c'].flatMap((payload, at) => [
      send('p', publish(5, `seq/${n}`, { qos: 1, id: at + 1, payload })),
      get('p', { type: 'puback', id: at + 1 }),
    ]),
    ...['a', 'b', 'c'].flatMap((payload) => [
      get('s', { type: 'publish', payload, within: 100 }),
      answer('s', 'puback'),
    ]),
  ]),
  fails(5, ['3.2.2-15', '4.13.1-1'], 'a packet above the announced size is refused at its header', (n) => [
    join('a', n, {}, { properties: { 39: [4 * 1024 * 1024 + 128 * 1024] } }),
    send('a', bytes(0x30), varint(4 * 1024 * 1024 + 128 * 1024)),
    dismissed('a', [0x95]),
  ]),
  ...both((version) => [
    fails(
      version,
      by(version, ['4.8.0-1'], ['3.2.2-15', '4.13.1-1']),
      'a packet of 256 MiB is refused at its header',
      (n) => [join('a', n), send('a', bytes(0x30, 0xff, 0xff, 0xff, 0x7f)), dismissed('a', [0x95])],
    ),
    ...[20_000, 32_000].map((length) =>
      works(version, ['4.7.3-3'], `a topic of ${length} bytes is a topic`, (n) => {
        const topic = `seq/${n}/`.padEnd(length, 'x')
        return [
          join('a', n),
          send('a', subscribe(version, [[topic, 0]])),
          get('a', { type: 'suback', codes: [0] }),
          send('a', publish(version, topic)),
          get('a', { type: 'publish', topic }),
        ]
      }),
    ),
    // Where the broker has no room for it, 5 is told so.
    works(version, ['4.7.3-3'], 'a topic of 65,535 bytes hurts nobody', (n) => [
      join('a', n),
      send('a', publish(version, `seq/${n}/`.padEnd(65_535, 'x'), { qos: 1 })),
      get('a', { type: 'puback', id: 1, reason: [0, 0x10, 0x97] }),
      sync('a'),
    ]),
  ]),
]

const expiry: readonly Case[] = [
  works(5, ['3.3.2-6'], 'the lifetime that is left is told', (n) => [
    join('s', `${n}s`),
    send('s', subscribe(5, [[`seq/${n}`, 1]])),
    get('s', { type: 'suback' }),
    send('s', publish(5, `seq/${n}`, { properties: [prop(2, u32(100))] })),
    get('s', { type: 'publish', properties: { 2: (left) => (left as number) >= 95 && (left as number) <= 100 } }),
  ]),
  works(5, ['3.3.2-5', '3.3.2-6'], 'what expired while its reader was away is not delivered', (n) => [
    join('s', `${n}s`, { clean: false, properties: [prop(0x11, u32(60))] }),
    send('s', subscribe(5, [[`seq/${n}`, 1]])),
    get('s', { type: 'suback' }),
    (play) => play.client('s').cut(),
    join('p', `${n}p`),
    send(
      'p',
      publish(5, `seq/${n}`, { qos: 1, payload: 'old', properties: [prop(2, u32(1))] }),
      publish(5, `seq/${n}`, { qos: 1, payload: 'new', properties: [prop(2, u32(100))] }),
    ),
    get('p', { type: 'puback' }),
    get('p', { type: 'puback' }),
    () => new Promise((resolve) => setTimeout(resolve, 1_300)),
    join('s', `${n}s`, { clean: false, properties: [prop(0x11, u32(60))] }, { present: true }),
    get('s', { type: 'publish', payload: 'new', properties: { 2: (left) => (left as number) <= 99 } }),
  ]),
  ...([1, 2] as const).map((qos) =>
    works(
      5,
      qos === 1 ? ['4.3.3-7'] : ['4.3.3-7', '4.3.3-13'],
      `a QoS ${qos} message that was sent is finished though it expired`,
      (n) => [
        join('s', `${n}s`, { clean: false, properties: [prop(0x11, u32(60))] }),
        send('s', subscribe(5, [[`seq/${n}`, qos]])),
        get('s', { type: 'suback' }),
        join('p', `${n}p`),
        send('p', publish(5, `seq/${n}`, { qos, payload: 'x', properties: [prop(2, u32(1))] })),
        get('s', { type: 'publish', qos, dup: false }),
        () => new Promise((resolve) => setTimeout(resolve, 1_300)),
        join('s', `${n}s`, { clean: false, properties: [prop(0x11, u32(60))] }, { present: true }),
        get('s', { type: 'publish', qos, dup: true, payload: 'x' }),
        ...(qos === 2
          ? [answer('s', 'pubrec'), getFor('s', 'pubrel'), answer('s', 'pubcomp')]
          : [answer('s', 'puback')]),
        sync('s'),
      ],
    ),
  ),
]

export const publishing: readonly Case[] = [
  ...expiry,
  ...matrix,
  ...wrong,
  ...named,
  ...order,
  ...once,
  ...forwarding,
  ...aliases,
  ...flow,
  ...sizes,
]

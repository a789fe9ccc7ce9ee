import {
  answer,
  both,
  breaks,
  type Case,
  cut,
  fails,
  gather,
  get,
  getFor,
  join,
  type Step,
  send,
  sync,
  works,
} from '../case.ts'
import {
  ack,
  bytes,
  packet,
  prop,
  publish,
  subscribe,
  u16,
  u32,
  unsubscribe,
  type Version,
  varint,
} from '../packets.ts'

const by = (version: Version, four: readonly string[], five: readonly string[]) => (version === 4 ? four : five)

const options = both((version) => [
  ...(version === 4
    ? [0x04, 0x08, 0x10, 0x20, 0x40, 0x80].flatMap((bit) => [0, 1, 2].map((qos) => bit | qos))
    : [0x40, 0x80, 0xc0].flatMap((bit) => [0, 1, 2].map((qos) => bit | qos))
  ).map((value) =>
    breaks(
      version,
      by(version, ['3-8.3-4', '4.8.0-1'], ['3.8.3-5', '4.13.1-1']),
      `the subscription options ${value}`,
      (n) => subscribe(version, [[`seq/${n}`, value]]),
    ),
  ),
  ...(version === 4 ? [3] : [3, 0x0b, 0x13, 0x23]).map((value) =>
    breaks(
      version,
      by(version, ['3-8.3-4', '4.8.0-1'], ['4.13.1-1', '3.8.3-5']),
      `the subscription options ${value} with QoS 3`,
      (n) => subscribe(version, [[`seq/${n}`, value]]),
    ),
  ),
  ...(version === 5 ? [0x30, 0x31, 0x32] : []).map((value) =>
    breaks(5, ['4.13.1-1', '3.8.3-5'], `the subscription options ${value} with retain handling 3`, (n) =>
      subscribe(5, [[`seq/${n}`, value]]),
    ),
  ),
  ...(version === 5 ? [0, 1, 2] : []).map((qos) =>
    breaks(
      5,
      ['3.8.3-4', '4.13.1-1'],
      `No Local on a shared subscription with QoS ${qos}`,
      (n) => subscribe(5, [[`$share/g/seq/${n}`, 4 | qos]]),
      [0x82],
    ),
  ),
  breaks(
    version,
    by(version, ['3.8.3-3', '4.8.0-1'], ['3.8.3-2', '4.13.1-1']),
    'SUBSCRIBE without a filter',
    () => subscribe(version, []),
    [0x81, 0x82],
  ),
  breaks(
    version,
    by(version, ['3.10.3-2', '4.8.0-1'], ['3.10.3-2', '4.13.1-1']),
    'UNSUBSCRIBE without a filter',
    () => unsubscribe(version, []),
    [0x81, 0x82],
  ),
  breaks(version, by(version, ['2.3.1-1'], ['2.2.1-3']), 'packet id 0 of SUBSCRIBE', (n) =>
    subscribe(version, [[`seq/${n}`, 0]], 0),
  ),
  breaks(version, by(version, ['2.3.1-1'], ['2.2.1-3']), 'packet id 0 of UNSUBSCRIBE', (n) =>
    unsubscribe(version, [`seq/${n}`], 0),
  ),
  breaks(version, by(version, ['3.8.3-3'], ['3.8.3-2']), 'a filter without options', () =>
    packet(0x82, u16(1), ...(version === 5 ? [bytes(0)] : []), u16(1), bytes(0x61)),
  ),
])

/** No filter at all: told for the filter itself, or the connection ends. */
const badFilters = ['a#', '#/a', 'a/#/b', 'a+', '+a', 'a/b+/c', 'a/+b', '##', 'a/##', '++', '', '/#/', 'a/#b']
const badShares = [
  '$share/x',
  '$share/',
  '$share//a',
  '$share/a+/b',
  '$share/a#/b',
  '$share/a/',
  '$share/#',
  '$share/a/b#',
]
const filters = both((version) =>
  [...badFilters, ...badShares].map((filter) =>
    fails(
      version,
      [
        ...(filter.startsWith('$share')
          ? version === 5
            ? [/^\$share\/?$|^\$share\/\/|^\$share\/x$/.test(filter) ? '4.8.2-1' : '4.8.2-2']
            : ['4.8.0-1']
          : filter === ''
            ? ['4.7.3-1']
            : filter.includes('#')
              ? by(version, ['4.7.1-2'], ['4.7.1-1'])
              : by(version, ['4.7.1-3'], ['4.7.1-2'])),
        ...by(version, ['3.8.4-5'], ['3.8.4-6']),
      ],
      `the filter “${filter}” is refused, the one beside it is not`,
      (n) => [
        join('a', n),
        send(
          'a',
          subscribe(
            version,
            [
              [filter, 1],
              [`seq/${n}`, 1],
            ],
            9,
          ),
        ),
        get('a', { type: 'suback', id: 9, codes: [version === 5 ? 0x8f : 0x80, 1] }),
        sync('a'),
      ],
    ),
  ),
)

/** Filter, topics that match, topics that do not; each below `seq/n/`. Source: section 4.7. */
const matching: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['#', ['', 'a', 'a/b', '/'], []],
  ['a/#', ['a', 'a/', 'a/b', 'a/b/c'], ['b', 'aa', 'A/b', '/a']],
  ['+', ['', 'a', ' '], ['a/b', 'a/', '/']],
  ['+/+', ['a/b', '/', 'a/', '/b'], ['a', 'a/b/c']],
  ['a/+/c', ['a/b/c', 'a//c'], ['a/c', 'a/b/b/c', 'a/b/C']],
  ['a/+', ['a/', 'a/b'], ['a', 'a/b/c']],
  ['+/b/#', ['a/b', 'a/b/c', '/b/'], ['b', 'a/c/b']],
  ['/', ['/'], ['', '//', 'a/']],
  ['a//b', ['a//b'], ['a/b', 'a///b']],
  ['+/#', ['a', 'a/b', ''], []],
  ['a b/+', ['a b/c'], ['a/c', 'ab/c']],
  ['ü/+', ['ü/x'], ['u/x', 'Ü/x']],
  ['$x/#', ['$x', '$x/y'], ['x/y']],
  ['+/$x', ['a/$x', '$y/$x'], ['$x']],
  ['a/+/+/#', ['a/b/c', 'a///', 'a/b/c/d'], ['a/b', 'a']],
]
const matches = both((version) =>
  matching.flatMap(([filter, yes, no]) =>
    ([0, 1, 2] as const).map((qos) =>
      works(
        version,
        [
          '3.3.2-3',
          '4.7.3-4',
          '3.8.4-1',
          '3.8.4-2',
          '4.5.0-1',
          ...by(
            version,
            filter.includes('#') ? ['4.7.1-2'] : ['4.7.1-3'],
            filter.includes('#') ? ['4.7.1-1'] : ['4.7.1-2'],
          ),
        ],
        `the filter ${filter} with QoS ${qos} matches what it says`,
        (n) => [
          join('a', n),
          send(
            'a',
            subscribe(
              version,
              [
                [`seq/${n}/${filter}`, qos],
                [`seq/end/${n}`, 2],
              ],
              5,
            ),
          ),
          get('a', { type: 'suback', id: 5, codes: [qos, 2] }),
          ...no.map((topic) => send('a', publish(version, `seq/${n}/${topic}`, { payload: 'no' }))),
          ...yes.flatMap((topic) => [
            send('a', publish(version, `seq/${n}/${topic}`, { payload: 'yes' })),
            get('a', { type: 'publish', topic: `seq/${n}/${topic}`, payload: 'yes' }),
          ]),
          send('a', publish(version, `seq/end/${n}`)),
          get('a', { type: 'publish', topic: `seq/end/${n}` }),
        ],
      ),
    ),
  ),
)

const system = both((version) => [
  ...['#', '+/+'].map((filter) =>
    works(version, ['4.7.2-1'], `the filter ${filter} does not see topics that begin with $`, (n) => [
      join('a', n),
      send('a', subscribe(version, [[filter, 0]])),
      get('a', { type: 'suback', codes: [0] }),
      join('p', `${n}p`),
      send(
        'p',
        publish(version, `$sys/${n}`, { payload: `no ${n}` }),
        publish(version, `seq${n}/${n}`, { payload: `yes ${n}` }),
      ),
      async (play) => {
        const client = play.client('a')
        await client.find({ type: 'publish', payload: `yes ${n}` })
        if (client.publishes.some(({ payload }) => payload === `no ${n}`)) throw new Error('it saw it')
      },
    ]),
  ),
  works(version, ['4.7.2-1'], 'a filter that begins with $ sees such topics', (n) => [
    join('a', n),
    send('a', subscribe(version, [[`$sys/${n}/#`, 0]])),
    get('a', { type: 'suback', codes: [0] }),
    send('a', publish(version, `$sys/${n}/x`)),
    get('a', { type: 'publish', topic: `$sys/${n}/x` }),
  ]),
])

const many = both((version) => [
  works(
    version,
    by(
      version,
      ['3.8.4-4', '3.8.4-5', '3.9.3-1', '3.9.3-2', '3.8.4-6'],
      ['3.8.4-5', '3.8.4-6', '3.8.4-7', '3.9.3-1', '3.9.3-2'],
    ),
    'one code a filter, in their order',
    (n) => [
      join('a', n),
      send(
        'a',
        subscribe(
          version,
          [
            [`seq/${n}/0`, 0],
            ['refused/#', 1],
            [`seq/${n}/1`, 1],
            ['a#', 2],
            [`seq/${n}/2`, 2],
          ],
          65_535,
        ),
      ),
      get('a', { type: 'suback', id: 65_535, codes: [0, 0x80, 1, version === 5 ? 0x8f : 0x80, 2] }),
      ...[0, 1, 2].flatMap((qos) => [
        send('a', publish(version, `seq/${n}/${qos}`, { qos: 0 })),
        get('a', { type: 'publish', topic: `seq/${n}/${qos}` }),
      ]),
    ],
  ),
  works(
    version,
    by(
      version,
      ['3.10.4-6', '3.10.4-4', '3.10.4-5', '3.10.4-2'],
      ['3.10.4-6', '3.10.4-4', '3.10.4-5', '3.10.4-2', '3.11.3-1', '3.11.3-2'],
    ),
    'UNSUBSCRIBE of several filters',
    (n) => [
      join('a', n),
      send(
        'a',
        subscribe(version, [
          [`seq/${n}/1`, 0],
          [`seq/${n}/2`, 0],
          [`seq/${n}/3`, 0],
        ]),
      ),
      get('a', { type: 'suback', codes: [0, 0, 0] }),
      send('a', unsubscribe(version, [`seq/${n}/1`, `seq/${n}/none`, `seq/${n}/2`], 4711)),
      get('a', { type: 'unsuback', id: 4711, codes: version === 5 ? [0, 0x11, 0] : [] }),
      send('a', publish(version, `seq/${n}/1`), publish(version, `seq/${n}/2`), publish(version, `seq/${n}/3`)),
      get('a', { type: 'publish', topic: `seq/${n}/3` }),
    ],
  ),
  works(version, ['3.10.4-5', '3.10.4-4'], 'UNSUBSCRIBE of what was never subscribed', (n) => [
    join('a', n),
    send('a', unsubscribe(version, [`seq/${n}`], 3)),
    get('a', { type: 'unsuback', id: 3, codes: version === 5 ? [0x11] : [] }),
  ]),
  works(version, ['3.10.4-1'], 'UNSUBSCRIBE compares filters character by character', (n) => [
    join('a', n),
    send('a', subscribe(version, [[`seq/${n}/+`, 0]])),
    get('a', { type: 'suback', codes: [0] }),
    send('a', unsubscribe(version, [`seq/${n}/#`, `seq/${n}/a`, `Seq/${n}/+`, `seq/${n}/+/`, `/seq/${n}/+`])),
    get('a', { type: 'unsuback', codes: version === 5 ? [0x11, 0x11, 0x11, 0x11, 0x11] : [] }),
    send('a', publish(version, `seq/${n}/a`)),
    get('a', { type: 'publish', topic: `seq/${n}/a` }),
  ]),
  ...([1, 2] as const).map((qos) =>
    works(version, ['3.10.4-3'], `what has begun with QoS ${qos} is finished after UNSUBSCRIBE`, (n) => [
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}`, qos]])),
      get('a', { type: 'suback', codes: [qos] }),
      join('p', `${n}p`),
      send('p', publish(version, `seq/${n}`, { qos })),
      get('a', { type: 'publish', qos }),
      send('a', unsubscribe(version, [`seq/${n}`])),
      get('a', { type: 'unsuback' }),
      ...(qos === 1 ? [answer('a', 'puback')] : [answer('a', 'pubrec'), getFor('a', 'pubrel'), answer('a', 'pubcomp')]),
      sync('a'),
    ]),
  ),
  ...[
    [0, 2],
    [2, 0],
    [1, 1],
  ].map(([first, second]) =>
    works(version, ['3.8.4-3'], `a filter again with QoS ${second} instead of ${first} replaces it`, (n) => [
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}`, first!]])),
      get('a', { type: 'suback', codes: [first!] }),
      send('a', subscribe(version, [[`seq/${n}`, second!]])),
      get('a', { type: 'suback', codes: [second!] }),
      join('p', `${n}p`),
      send('p', publish(version, `seq/${n}`, { qos: 2, payload: '1' })),
      get('a', { type: 'publish', qos: second!, payload: '1' }),
      send('p', publish(version, `seq/${n}`, { qos: 0, id: 2, payload: '2' })),
      get('p', { type: 'pubrec' }),
      get('a', { type: 'publish', qos: 0, payload: '2' }),
    ]),
  ),
  ...[
    [0, 1],
    [1, 2],
    [2, 0],
    [0, 2],
    [1, 0],
  ].map(([wide, narrow]) =>
    works(
      version,
      by(version, ['3.3.5-1'], ['3.3.4-2']),
      `overlapping filters of QoS ${wide} and ${narrow} deliver with the greater`,
      (n) => [
        join('a', n),
        send(
          'a',
          subscribe(version, [
            [`seq/${n}/#`, wide!],
            [`seq/${n}/x`, narrow!],
          ]),
        ),
        get('a', { type: 'suback', codes: [wide!, narrow!] }),
        join('p', `${n}p`),
        send('p', publish(version, `seq/${n}/x`, { qos: 2 })),
        get('a', { type: 'publish', qos: Math.max(wide!, narrow!) }),
      ],
    ),
  ),
])

const identifiers: readonly Case[] = [
  ...[1, 127, 128, 16_383, 2_097_152, 268_435_455].map((id) =>
    works(5, ['3.3.4-3'], `the subscription identifier ${id} comes with the message`, (n) => [
      join('a', n),
      send('a', subscribe(5, [[`seq/${n}`, 0]], 1, [prop(0x0b, varint(id))])),
      get('a', { type: 'suback', codes: [0] }),
      send('a', publish(5, `seq/${n}`)),
      get('a', { type: 'publish', properties: { 11: [id] } }),
    ]),
  ),
  works(5, ['3.3.4-3', '3.3.4-4', '3.3.4-5'], 'every matching filter’s identifier comes with the one copy', (n) => [
    join('a', n),
    ...[
      ['#', 1],
      ['+', 2],
      ['x', 3],
      ['y', 4],
    ].flatMap(([filter, id]) => [
      send('a', subscribe(5, [[`seq/${n}/${filter}`, 0]], 1, [prop(0x0b, varint(id as number))])),
      get('a', { type: 'suback' }),
    ]),
    send('a', publish(5, `seq/${n}/x`)),
    get('a', { type: 'publish', properties: { 11: (id) => [1, 2, 3].includes(id as number) } }),
    async (play) => {
      const ids = [...(play.client('a').published(0).properties.get(0x0b) ?? [])].sort()
      if (ids.join() !== '1,2,3') throw new Error(`identifiers ${ids}`)
    },
    sync('a'),
  ]),
  works(5, ['3.3.4-3', '3.8.4-3'], 'a filter again without an identifier has none', (n) => [
    join('a', n),
    send('a', subscribe(5, [[`seq/${n}`, 0]], 1, [prop(0x0b, varint(7))])),
    get('a', { type: 'suback' }),
    send('a', subscribe(5, [[`seq/${n}`, 0]])),
    get('a', { type: 'suback' }),
    send('a', publish(5, `seq/${n}`)),
    get('a', { type: 'publish', properties: { 11: [] } }),
  ]),
  ...[0, 1, 2].flatMap((qos) => [
    works(5, ['3.8.3-3'], `No Local with QoS ${qos}: one’s own messages do not come`, (n) => [
      join('a', n),
      send(
        'a',
        subscribe(5, [
          [`seq/${n}`, 4 | qos],
          [`seq/${n}/end`, 0],
        ]),
      ),
      get('a', { type: 'suback', codes: [qos, 0] }),
      join('b', `${n}b`),
      send('a', publish(5, `seq/${n}`, { payload: 'own' })),
      sync('a'),
      send('b', publish(5, `seq/${n}`, { payload: 'other' })),
      get('a', { type: 'publish', payload: 'other' }),
      send('a', publish(5, `seq/${n}/end`)),
      get('a', { type: 'publish', topic: `seq/${n}/end` }),
    ]),
  ]),
  works(
    5,
    ['3.8.4-6', '3.9.2-1', '3.9.2-2', '3.11.2-1', '3.11.2-2', '3.1.2-24'],
    'refusals of filters keep within the client’s packets',
    (n) => [
      join('a', n, { properties: [prop(0x27, u32(20))] }),
      send(
        'a',
        subscribe(5, [
          ['a#', 0],
          ['refused/#', 0],
        ]),
      ),
      get('a', { type: 'suback', codes: [0x8f, 0x80], within: 20 }),
      send('a', unsubscribe(5, [`seq/${n}`])),
      get('a', { type: 'unsuback', codes: [0x11], within: 20 }),
    ],
  ),
]

const retained = both((version) => {
  const put = (topic: string, payload: string, qos = 1): readonly Step[] => [
    send('p', publish(version, topic, { qos, retain: true, payload })),
    ...(qos === 1
      ? [get('p', { type: 'puback', reason: 0 })]
      : qos === 2
        ? [get('p', { type: 'pubrec' }), send('p', ack('pubrel', 1)), get('p', { type: 'pubcomp' })]
        : [sync('p')]),
  ]
  const from = (n: string) => join('p', `${n}p`)
  return [
    ...[0, 1, 2].flatMap((qos) =>
      [0, 1, 2].map((granted) =>
        works(
          version,
          by(version, ['3.3.1-5', '3.3.1-6', '3.3.1-8', '3.1.2.7'], ['3.3.1-5', '3.3.1-9']),
          `retained with QoS ${qos}, subscribed with ${granted}`,
          (n) => [
            from(n),
            ...put(`seq/${n}`, 'kept', qos),
            send('p', bytes(0xe0, 0)),
            join('a', n),
            // QoS 0 is stored without an answer to wait for.
            ...(qos === 0 ? [(): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100))] : []),
            send('a', subscribe(version, [[`seq/${n}`, granted]])),
            gather(
              'a',
              { type: 'suback', codes: [granted] },
              { type: 'publish', payload: 'kept', retain: true, qos: Math.min(qos, granted), dup: false },
            ),
          ],
        ),
      ),
    ),
    works(version, ['3.3.1-5'], 'a retained message replaces the one before', (n) => [
      from(n),
      ...put(`seq/${n}`, 'one'),
      ...put(`seq/${n}`, 'two'),
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}`, 0]])),
      gather('a', { type: 'suback' }, { type: 'publish', payload: 'two', retain: true }),
      sync('a'),
    ]),
    works(
      version,
      by(version, ['3.3.1-10', '3.3.1-11'], ['3.3.1-6', '3.3.1-7']),
      'an empty one deletes it, and is delivered itself',
      (n) => [
        from(n),
        ...put(`seq/${n}`, 'one'),
        join('b', `${n}b`),
        send('b', subscribe(version, [[`seq/${n}`, 0]])),
        gather('b', { type: 'suback' }, { type: 'publish', payload: 'one' }),
        ...put(`seq/${n}`, ''),
        get('b', { type: 'publish', payload: '', retain: false }),
        join('a', n),
        send('a', subscribe(version, [[`seq/${n}`, 0]])),
        get('a', { type: 'suback' }),
        send('a', publish(version, `seq/${n}`, { payload: 'live' })),
        get('a', { type: 'publish', payload: 'live', retain: false }),
      ],
    ),
    works(version, by(version, ['3.3.1-12'], ['3.3.1-8']), 'a message without retain leaves the retained one', (n) => [
      from(n),
      ...put(`seq/${n}`, 'kept'),
      send('p', publish(version, `seq/${n}`, { qos: 1, payload: 'live' })),
      get('p', { type: 'puback' }),
      send('p', publish(version, `seq/${n}`, { qos: 1, payload: '' })),
      get('p', { type: 'puback' }),
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}`, 0]])),
      gather('a', { type: 'suback' }, { type: 'publish', payload: 'kept', retain: true }),
      sync('a'),
    ]),
    works(version, by(version, ['3.3.1-12'], ['3.3.1-8']), 'a message without retain is not retained', (n) => [
      from(n),
      send('p', publish(version, `seq/${n}`, { qos: 1, payload: 'live' })),
      get('p', { type: 'puback' }),
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}`, 0]])),
      get('a', { type: 'suback' }),
      send('p', publish(version, `seq/${n}`, { qos: 1, payload: 'later' })),
      get('a', { type: 'publish', payload: 'later' }),
    ]),
    works(
      version,
      by(version, ['3.3.1-6', '3.8.4-3'], ['3.3.1-9', '3.8.4-4']),
      'a subscription that is made again gets what is retained again',
      (n) => [
        from(n),
        ...put(`seq/${n}`, 'kept'),
        join('a', n),
        ...[1, 2, 3].flatMap(() => [
          send('a', subscribe(version, [[`seq/${n}`, 0]])),
          gather('a', { type: 'suback' }, { type: 'publish', payload: 'kept', retain: true }),
        ]),
      ],
    ),
    works(version, by(version, ['3.3.1-6'], ['3.3.1-9']), 'wildcards get all that is retained', (n) => [
      from(n),
      ...['x', 'y', 'z/z'].flatMap((level) => put(`seq/${n}/${level}`, level)),
      join('a', n),
      send('a', subscribe(version, [[`seq/${n}/+`, 0]])),
      gather(
        'a',
        { type: 'suback' },
        { type: 'publish', payload: 'x', retain: true },
        { type: 'publish', payload: 'y', retain: true },
      ),
      send('a', subscribe(version, [[`seq/${n}/z/#`, 0]])),
      gather('a', { type: 'suback' }, { type: 'publish', payload: 'z/z', retain: true }),
    ]),
  ]
})
const handling: readonly Case[] = [
  ...[0, 1, 2].flatMap((rh) =>
    [false, true].map((again) =>
      works(
        5,
        [['3.3.1-9', '3.8.4-4'], ['3.3.1-10'], ['3.3.1-11']][rh]!,
        `retain handling ${rh} of a ${again ? 'known' : 'new'} subscription`,
        (n) => {
          const comes = rh === 0 || (rh === 1 && !again)
          return [
            join('p', `${n}p`),
            send('p', publish(5, `seq/${n}`, { qos: 1, retain: true, payload: 'kept' })),
            get('p', { type: 'puback' }),
            join('a', n),
            ...(again ? [send('a', subscribe(5, [[`seq/${n}`, 0x20]])), get('a', { type: 'suback' })] : []),
            send('a', subscribe(5, [[`seq/${n}`, rh << 4]])),
            ...(comes
              ? [gather('a', { type: 'suback' }, { type: 'publish', payload: 'kept', retain: true })]
              : [get('a', { type: 'suback' })]),
            send('p', publish(5, `seq/${n}`, { qos: 1, payload: 'end' })),
            get('a', { type: 'publish', payload: 'end' }),
          ]
        },
      ),
    ),
  ),
  ...[false, true].flatMap((rap) =>
    [false, true].map((retain) =>
      works(
        5,
        [rap ? '3.3.1-13' : '3.3.1-12'],
        `Retain As Published ${rap ? 1 : 0} and RETAIN ${retain ? 1 : 0}`,
        (n) => [
          join('a', n),
          send('a', subscribe(5, [[`seq/${n}`, rap ? 8 : 0]])),
          get('a', { type: 'suback' }),
          send('a', publish(5, `seq/${n}`, { retain })),
          get('a', { type: 'publish', retain: rap && retain }),
        ],
      ),
    ),
  ),
]

const shares: readonly Case[] = [
  ...both((version) => [
    works(
      version,
      version === 5 ? ['4.8.2-1', '4.8.2-2', '4.8.2-3'] : ['7.0.0-2'],
      'two members share 20 messages',
      (n) => {
        const all = Array.from({ length: 20 }, (_, at) => String(at))
        return [
          ...['a', 'b'].flatMap((who, at) => [
            join(who, `${n}${who}`),
            send(
              who,
              subscribe(version, [
                [`$share/g${n}/seq/${n}`, at],
                [`seq/end/${n}`, 0],
              ]),
            ),
            get(who, { type: 'suback', codes: [at, 0] }),
          ]),
          join('p', `${n}p`),
          send('p', ...all.map((payload, at) => publish(version, `seq/${n}`, { qos: 1, id: at + 1, payload }))),
          ...all.map((_, at) => get('p', { type: 'puback', id: at + 1 })),
          async (play) => {
            const got: string[] = []
            const take = async (who: string, granted: number) => {
              for (;;) {
                const client = play.client(who)
                await client.get({ type: 'publish' })
                const { payload, topic, qos, id } = client.published(0)
                if (topic === `seq/end/${n}`) return
                if (qos !== granted) throw new Error(`QoS ${qos}`)
                if (id !== undefined) client.send(ack('puback', id))
                got.push(payload!)
                if (got.length === 20) play.client('p').send(publish(play.version, `seq/end/${n}`))
              }
            }
            await Promise.all([take('a', 0), take('b', 1)])
            if (got.sort().join() !== all.sort().join()) throw new Error(`got ${got}`)
          },
        ]
      },
    ),
    works(
      version,
      version === 5 ? ['3.3.1-9', '4.8.2-1'] : ['7.0.0-2'],
      'nothing retained is sent for a shared subscription',
      (n) => [
        join('p', `${n}p`),
        send('p', publish(version, `seq/${n}`, { qos: 1, retain: true, payload: 'kept' })),
        get('p', { type: 'puback' }),
        join('a', n),
        send('a', subscribe(version, [[`$share/g${n}/seq/${n}`, 1]])),
        get('a', { type: 'suback', codes: [1] }),
        send('p', publish(version, `seq/${n}`, { qos: 1, payload: 'live' })),
        get('a', { type: 'publish', payload: 'live' }),
      ],
    ),
  ]),
  works(5, ['4.8.2-4', '4.8.2-5'], 'a QoS 2 message stays with the member that it was begun with', (n) => {
    const kept = { clean: false, properties: [prop(0x11, u32(60))] }
    return [
      join('a', `${n}a`, kept),
      send('a', subscribe(5, [[`$share/g${n}/seq/${n}`, 2]])),
      get('a', { type: 'suback', codes: [2] }),
      join('p', `${n}p`),
      send('p', publish(5, `seq/${n}`, { qos: 2, payload: 'one' })),
      get('a', { type: 'publish', qos: 2, payload: 'one' }),
      answer('a', 'pubrec'),
      getFor('a', 'pubrel'),
      cut('a'),
      join('b', `${n}b`),
      send(
        'b',
        subscribe(5, [
          [`$share/g${n}/seq/${n}`, 2],
          [`seq/${n}/end`, 0],
        ]),
      ),
      get('b', { type: 'suback', codes: [2, 0] }),
      join('a', `${n}a`, kept, { present: true }),
      getFor('a', 'pubrel'),
      answer('a', 'pubcomp'),
      sync('a'),
      send('p', publish(5, `seq/${n}/end`)),
      get('b', { type: 'publish', topic: `seq/${n}/end` }),
    ]
  }),
  ...(
    [
      ['puback', 1],
      ['pubrec', 2],
    ] as const
  ).map(([type, qos]) =>
    works(5, ['4.8.2-6', '4.4.0-2'], `a member that refuses by ${type.toUpperCase()} is the last to see it`, (n) => [
      join('a', `${n}a`),
      send('a', subscribe(5, [[`$share/g${n}/seq/${n}`, qos]])),
      get('a', { type: 'suback', codes: [qos] }),
      join('p', `${n}p`),
      send('p', publish(5, `seq/${n}`, { qos, payload: 'one' })),
      get('a', { type: 'publish', qos }),
      join('b', `${n}b`),
      send(
        'b',
        subscribe(5, [
          [`$share/g${n}/seq/${n}`, qos],
          [`seq/${n}/end`, 0],
        ]),
      ),
      get('b', { type: 'suback' }),
      answer('a', type, 0x97),
      sync('a'),
      send('p', publish(5, `seq/${n}/end`)),
      get('b', { type: 'publish', topic: `seq/${n}/end` }),
    ]),
  ),
  {
    ...fails(5, ['3.8.4-6', '3.9.3-2'], 'shared subscriptions that are not served are refused', (n) => [
      join('a', n),
      send(
        'a',
        subscribe(5, [
          [`$share/g/seq/${n}`, 1],
          [`seq/${n}`, 1],
        ]),
      ),
      get('a', { type: 'suback', codes: [0x9e, 1] }),
    ]),
    at: 'bare',
  },
]

export const subscribing: readonly Case[] = [
  ...options,
  ...filters,
  ...matches,
  ...system,
  ...many,
  ...identifiers,
  ...retained,
  ...handling,
  ...shares,
]

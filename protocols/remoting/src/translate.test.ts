import { type CommandOf, Fault } from '@sluice/core'
import type { Frame } from '@sluice/remoting'
import { describe, expect, it } from 'vitest'
import { sendFields } from '../test/client.ts'
import { heartbeatOf } from './membership.ts'
import { toPull, toSend, toSendBack } from './translate.ts'

const arrival = { from: '10.0.0.1:4000', at: 1_700_000_001_000 }
const limits = { bodyBytes: 1024, pollMs: 30_000 }

const frame = (code: number, ext: Record<string, string | number>, body?: Buffer, version = 479): Frame => ({
  code,
  language: 'JAVA',
  version,
  opaque: 1,
  flag: 0,
  ext: Object.fromEntries(Object.entries(ext).map(([name, value]) => [name, String(value)])),
  ...(body && { body }),
  binary: false,
})

const codeOf = (call: () => unknown): string => {
  try {
    call()
  } catch (error) {
    if (Fault.is(error)) return error.about ? `${error.code} ${error.about}` : error.code
    throw error
  }
  return 'done'
}

describe('a send', () => {
  const sent = (more: Record<string, string | number>, body: Buffer = Buffer.from('hello'), version = 479) =>
    toSend(frame(310, sendFields('T', more), body, version), arrival, limits)

  it('keeps body and property string as they came and reads the rest when asked', () => {
    const body = Buffer.from('hello')
    const properties =
      'UNIQ_KEY\x01ID\x02TAGS\x01a\x02KEYS\x01k1 k2\x02color\x01red\x02__SHARDINGKEY\x01s\x02WAIT\x01true'
    const { topic, group, queue, messages } = sent({ i: properties, e: 3 }, body)
    const [message] = messages
    expect({ topic, group, queue }).toEqual({ topic: 'T', group: 'PG', queue: 3 })
    expect(message?.body).toBe(body)
    expect(message?.packed?.toString()).toBe(properties)
    expect(message?.id).toBe('ID')
    expect(message?.tag).toBe('a')
    expect(message?.keys).toEqual(['k1', 'k2'])
    expect(message?.group).toBe('s')
    expect(message?.properties).toEqual({ color: 'red' })
    expect(message?.bornAt).toBe(1_700_000_000_000)
    expect(message?.bornHost).toBe('10.0.0.1:4000')
    expect(message?.via).toBe(undefined)
  })

  it('understands long names, whatever the code', () => {
    const ext = {
      producerGroup: 'G',
      topic: 'T',
      queueId: -1,
      sysFlag: 0x201,
      bornTimestamp: 5,
      flag: 7,
      properties: 'TAGS\x01x\x02',
    }
    const { group, queue, messages } = toSend(frame(10, ext, Buffer.from('z')), arrival, limits)
    expect({ group, queue }).toEqual({ group: 'G', queue: -1 })
    expect(messages[0]).toMatchObject({ tag: 'x', bornAt: 5, encoding: 'zstd' })
    expect(messages[0]?.original).toEqual({ protocol: 'remoting', bytes: Buffer.from('00000007', 'hex') })
    expect(toSend(frame(320, { ...ext, sysFlag: 0 }, batchOf(['a', ''])), arrival, limits).messages).toHaveLength(1)
  })

  it.each([
    [0x0, undefined],
    [0x1, 'zlib'],
    [0x101, 'lz4'],
    [0x201, 'zstd'],
    [0x301, 'zlib'],
  ])('says of system flag %i that the body is %s', (flag, encoding) => {
    expect(sent({ f: flag }).messages[0]?.encoding).toBe(encoding)
  })

  it.each([
    ['DELAY\x011\x02', 1_000],
    ['DELAY\x0118\x02', 7_200_000],
    ['DELAY\x0199\x02TIMER_DELAY_SEC\x011\x02', 7_200_000],
    ['TIMER_DELAY_SEC\x015\x02TIMER_DELAY_MS\x017\x02', 5_000],
    ['TIMER_DELAY_MS\x011500\x02', 1_500],
    [`TIMER_DELIVER_MS\x01${arrival.at + 9}\x02`, 9],
  ])('delivers %j later', (i, delay) => {
    expect(sent({ i }).messages[0]?.deliverAt).toBe(arrival.at + delay)
  })

  it('is half of a transaction when it says so', () => {
    expect(
      sent({ i: 'TRAN_MSG\x01true\x02PGROUP\x01G\x02CHECK_IMMUNITY_TIME_IN_SECONDS\x0130\x02' }).messages[0]?.half,
    ).toEqual({ checkAfter: 30_000 })
  })

  it('is refused for a topic that cannot be, a body or properties that are too large, fields that are missing', () => {
    const refused = (more: Record<string, string | number>, body?: Buffer) => codeOf(() => sent(more, body))
    expect(refused({ b: 'a b' })).toBe('invalid topic')
    expect(refused({ b: 'x'.repeat(128) })).toBe('invalid topic')
    expect(refused({ b: `%RETRY%${'x'.repeat(200)}` })).toBe('done')
    expect(refused({ b: '' })).toBe('malformed')
    expect(refused({ e: '1e3' })).toBe('malformed')
    expect(refused({ g: '9007199254740993' })).toBe('malformed')
    expect(refused({ i: 'x'.repeat(32_768) })).toBe('tooLarge properties')
    expect(refused({}, Buffer.alloc(1025))).toBe('tooLarge body')
  })

  it('to a retry topic keeps how often it was tried, and is dead beyond its most', () => {
    const text = (i: string) => sent({ b: '%RETRY%G', i, j: 3, l: 16 }).messages[0]?.packed?.toString()
    expect(text('RETRY_TOPIC\x01T\x02')).toBe('RETRY_TOPIC\x01T\x02RECONSUME_TIME\x013\x02')
    expect(text('RETRY_TOPIC\x01T')).toBe('RETRY_TOPIC\x01T\x02RECONSUME_TIME\x013\x02')
    expect(text('RECONSUME_TIME\x013\x02')).toBe('RECONSUME_TIME\x013\x02')
    expect(sent({ b: '%RETRY%G', j: 17, l: 16 }).topic).toBe('%DLQ%G')
    expect(sent({ b: '%RETRY%G', j: 17, l: 16 }, Buffer.alloc(1), 119).topic).toBe('%RETRY%G')
  })
})

const batchOf = (...messages: readonly [body: string, properties: string][]): Buffer =>
  Buffer.concat(
    messages.map(([body, properties]) => {
      const bytes = Buffer.alloc(22 + body.length + properties.length)
      bytes.writeInt32BE(bytes.length, 0)
      bytes.writeInt32BE(body.length, 16)
      bytes.write(body, 20)
      bytes.writeUInt16BE(properties.length, 20 + body.length)
      bytes.write(properties, 22 + body.length)
      return bytes
    }),
  )

describe('a batch', () => {
  const split = (body: Buffer) => toSend(frame(320, sendFields('T', { m: 'true' }), body), arrival, limits).messages

  it('is cut into its messages without a copy', () => {
    const bytes = batchOf(['one', 'TAGS\x01a\x02'], ['', ''], ['three', 'UNIQ_KEY\x01K\x02'])
    const messages = split(bytes)
    expect(messages.map(({ body }) => body.toString())).toEqual(['one', '', 'three'])
    expect(messages.map(({ tag, id }) => tag ?? id)).toEqual(['a', undefined, 'K'])
    expect(messages[2]?.body.buffer).toBe(bytes.buffer)
    expect(messages[0]?.packed?.buffer).toBe(bytes.buffer)
  })

  it('is refused when its lengths do not fit', () => {
    const good = batchOf(['one', 'a\x01b\x02'])
    const harmed = (at: number, value: number) => {
      const bytes = Buffer.from(good)
      bytes.writeInt32BE(value, at)
      return codeOf(() => split(bytes))
    }
    expect(codeOf(() => split(Buffer.alloc(0)))).toBe('malformed')
    expect(codeOf(() => split(good.subarray(0, 21)))).toBe('malformed')
    expect(harmed(0, good.length + 1)).toBe('malformed')
    expect(harmed(0, -1)).toBe('malformed')
    expect(harmed(16, 400)).toBe('malformed')
    expect(harmed(16, -4)).toBe('malformed')
    expect(harmed(16, 2)).toBe('malformed')
  })
})

describe('a pull', () => {
  const base = { consumerGroup: 'G', topic: 'T', queueId: 1, queueOffset: 5, sysFlag: 0, commitOffset: 4 }
  const pull = (more: Record<string, string | number>) => toPull(frame(11, { ...base, ...more }), limits)

  it('waits, commits and filters only where its flags say so', () => {
    const said = { suspendTimeoutMillis: 15_000, subscription: 'a || b' }
    expect(pull(said)).toMatchObject({ wait: 0, commit: undefined, filter: undefined })
    expect(pull({ ...said, sysFlag: 7 })).toMatchObject({
      wait: 15_000,
      commit: 4,
      filter: { kind: 'tag', expression: 'a || b' },
    })
    expect(pull({ sysFlag: 4, subscription: 'x > 1', expressionType: 'SQL92' }).filter).toEqual({
      kind: 'sql92',
      expression: 'x > 1',
    })
    expect(pull({ sysFlag: 1, commitOffset: -1 }).commit).toBe(undefined)
  })

  it('waits 20 s at the most, also for a client that says nanoseconds', () => {
    expect(pull({ sysFlag: 2, suspendTimeoutMillis: 20_000_000_000 }).wait).toBe(20_000)
    expect(toPull(frame(11, { ...base, sysFlag: 2, suspendTimeoutMillis: 9_000 }), { pollMs: 700 }).wait).toBe(700)
  })

  it('takes a bounded number of messages and bytes', () => {
    expect(pull({ maxMsgNums: 100_000, maxMsgBytes: 2_147_483_647 })).toMatchObject({ max: 256, bytes: 262_144 })
    expect(pull({ maxMsgNums: 0, maxMsgBytes: -1 })).toMatchObject({ max: 1, bytes: 1 })
  })
})

describe('a message sent back', () => {
  const outcome = (more: Record<string, string | number>, version = 479): CommandOf<'settle'>['outcome'] =>
    toSendBack(frame(36, { group: 'G', offset: 77, originTopic: 'T', ...more }, undefined, version), 'node').outcome

  it('is named by its place', () => {
    const { receipts } = toSendBack(frame(36, { group: 'G', offset: 77, originTopic: 'T', delayLevel: 0 }), 'node')
    expect(receipts[0]).toMatchObject({ of: 'group', node: 'node', group: 'G', topic: 'T', place: 77, poppedAt: 0 })
  })

  it('comes again by the back-off of its group, after the time of its level, or never', () => {
    expect(outcome({ delayLevel: 0, maxReconsumeTimes: 16 })).toEqual({ kind: 'retry', counts: true, limit: 17 })
    expect(outcome({ delayLevel: 3 })).toEqual({ kind: 'retry', counts: true, after: 10_000 })
    expect(outcome({ delayLevel: -1 })).toEqual({ kind: 'dead' })
    expect(outcome({ delayLevel: 0, maxReconsumeTimes: 16 }, 119)).toEqual({ kind: 'retry', counts: true })
  })
})

describe('a heartbeat', () => {
  const of = (body: object) => heartbeatOf(Buffer.from(JSON.stringify(body)))

  it('is a membership', () => {
    const { client, member, partial } = of({
      clientID: 'c@1',
      producerDataSet: [{ groupName: 'P' }, { groupName: '' }],
      consumerDataSet: [
        {
          groupName: 'G',
          consumeType: 'CONSUME_POP',
          messageModel: 'BROADCASTING',
          consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
          subscriptionDataSet: [
            { topic: 'T', subString: 'a', subVersion: 9 },
            { topic: 'S', subString: 'x > 1', expressionType: 'SQL92', subVersion: 2 },
            'nonsense',
          ],
        },
        { groupName: 'H', consumeFromWhere: 'CONSUME_FROM_TIMESTAMP' },
      ],
    })
    expect({ client, partial }).toEqual({ client: 'c@1', partial: false })
    expect(member).toEqual({
      produces: ['P'],
      consumes: [
        {
          group: 'G',
          mode: 'pop',
          model: 'broadcast',
          from: 'min',
          topics: [
            { topic: 'T', filter: { kind: 'tag', expression: 'a' }, version: 9 },
            { topic: 'S', filter: { kind: 'sql92', expression: 'x > 1' }, version: 2 },
          ],
        },
        { group: 'H', mode: 'push', model: 'cluster', from: 'max', topics: [] },
      ],
    })
  })

  it('is refused without a client, when it is no JSON, and when it names too much', () => {
    expect(codeOf(() => of({}))).toBe('malformed')
    expect(codeOf(() => heartbeatOf(Buffer.from('{')))).toBe('malformed')
    expect(codeOf(() => heartbeatOf(undefined))).toBe('malformed')
    const groups = Array.from({ length: 1001 }, (_, n) => ({ groupName: `G${n}` }))
    expect(codeOf(() => of({ clientID: 'c', producerDataSet: groups }))).toBe('limit')
    const subscriptionDataSet = Array.from({ length: 10_001 }, (_, n) => ({ topic: `T${n}` }))
    expect(codeOf(() => of({ clientID: 'c', consumerDataSet: [{ groupName: 'G', subscriptionDataSet }] }))).toBe(
      'limit',
    )
  })
})

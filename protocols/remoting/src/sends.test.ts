import { Fault, type Message } from '@sluice/core'
import { encodeFrame, FRAME_BYTES_MAX, type Frame, request, response } from '@sluice/remoting'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway, turns } from '@sluice/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { RemotingClient, sendFields } from '../test/client.ts'
import { remotingCodec } from './codec.ts'
import { remoting } from './index.ts'
import { RUN_BYTES, RUN_MAX } from './sends.ts'

const gateways: FakeGateway[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.close()
})

interface Asked {
  readonly code?: number
  readonly ext?: Record<string, string | number>
  readonly body?: string
  readonly flag?: number
  readonly binary?: boolean
}

const open = async (options: FakeGatewayOptions = {}) => {
  const topics = ['T', 'U'].map((topic) => ({ topic, queues: 4, type: 'mixed' }) as const)
  const gateway = fakeGateway({ autoCreate: false, topics, ...options })
  gateways.push(gateway)
  const one = await RemotingClient.connect(remoting(), gateway)
  for (const topic of ['T', 'U']) await one.send(topic, 'first')
  const before = gateway.of('publish').length
  const answers: Frame[] = []
  const decoder = remotingCodec({ frameBytes: FRAME_BYTES_MAX }).decoder()
  one.wire.socket.on('data', (chunk: Buffer) => decoder.decode(chunk, (frame) => void answers.push(frame)))
  /** All in one read; opaque counts from 100. */
  const ask = async (...all: readonly Asked[]): Promise<readonly Frame[]> => {
    const frames = all.map(({ code = request.sendMessageV2, ext = {}, body = 'x', flag = 0, binary = false }, at) => {
      const fields = code === request.sendMessageV2 ? sendFields('T', ext) : ext
      const texts = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]))
      const frame = { code, language: 'JAVA', version: 479, opaque: 100 + at, flag, ext: texts, binary }
      const encoded = encodeFrame({ ...frame, body: Buffer.from(body) })
      return Buffer.isBuffer(encoded) ? encoded : Buffer.concat(encoded)
    })
    one.wire.socket.write(Buffer.concat(frames))
    await turns()
    return answers.splice(0).filter(({ opaque }) => opaque >= 100)
  }
  const commands = () =>
    gateway
      .of('publish')
      .slice(before)
      .map(({ messages, into, oneway }) => ({
        queue: into && 'index' in into ? into.index : -1,
        bodies: messages.map(bodyOf).join(' '),
        ...(oneway && { oneway }),
      }))
  return { gateway, one, ask, commands }
}

const bodyOf = ({ body }: Message): string => String(body)
const send = (body: string, e: number, ext: Asked['ext'] = {}): Asked => ({ body, ext: { e, ...ext } })
const codes = (frames: readonly Frame[]) => Object.fromEntries(frames.map(({ opaque, code }) => [opaque, code]))

describe('sends that come in one read', () => {
  it('are one command a queue, in their order, and each has its own answer', async () => {
    const { gateway, ask, commands } = await open()
    const answers = await ask(send('a', 1), send('b', 2), send('c', 1), send('d', -1), send('e', 1), send('f', -1))
    expect(commands()).toEqual([
      { queue: 1, bodies: 'a c e' },
      { queue: 2, bodies: 'b' },
      { queue: -1, bodies: 'd f' },
    ])
    const stored = gateway.messages('T')
    expect(answers).toHaveLength(6)
    for (const { opaque, code, ext } of answers) {
      const message = stored.find(({ body }) => String(body) === 'abcdef'[opaque - 100])
      expect([code, ext.transactionId, ext.queueOffset, ext.queueId]).toEqual([
        0,
        message?.id,
        String(message?.offset),
        String(message?.queue.index),
      ])
    }
  })

  it('are answered in the serialisation of each', async () => {
    const { ask, commands } = await open()
    const answers = await ask(send('a', 1), { ...send('b', 1), binary: true }, send('c', 1, { i: 'UNIQ_KEY\x01"\x02' }))
    expect(commands()).toEqual([{ queue: 1, bodies: 'a b c' }])
    expect(answers.map(({ opaque, binary }) => [opaque, binary]).sort()).toEqual([
      [100, false],
      [101, true],
      [102, false],
    ])
    expect(answers.find(({ opaque }) => opaque === 102)?.ext.transactionId).toBe('"')
  })

  it('are refused each for itself', async () => {
    const { gateway, ask, commands } = await open()
    gateway.answer('publish', ({ messages }: { messages: readonly Message[] }) => ({
      stored: messages.map((message, offset) =>
        bodyOf(message) === 'bad'
          ? new Fault('invalid', 'no such type', { about: 'type' })
          : { id: 'I', queue: { topic: 'T', node: 'memory', index: 1 }, offset, place: offset },
      ),
    }))
    const malformed = send('never', 1, { h: 'many' })
    const answers = await ask(send('a', 1), send('bad', 1), malformed, send('c', 1), send('none', 7))
    expect(commands()).toEqual([{ queue: 1, bodies: 'a bad c' }])
    expect(codes(answers)).toEqual({
      100: 0,
      101: response.messageIllegal,
      102: response.invalidParameter,
      103: 0,
      104: response.invalidParameter,
    })
  })

  it('are answered each for itself, whatever cannot be said of one', async () => {
    const { gateway, ask } = await open()
    gateway.answer('publish', ({ messages }: { messages: readonly Message[] }) => ({
      stored: messages.flatMap((message, offset) =>
        bodyOf(message) === 'lost'
          ? []
          : [{ id: 'I', queue: { topic: 'T', node: 'memory', index: 1 }, offset, place: 0 }],
      ),
    }))
    const answers = await ask(send('a', 1), send('b', 1), send('lost', 1))
    expect(codes(answers)).toEqual({ 100: 0, 101: 0, 102: response.systemError })
    expect(gateway.logs.filter(({ event }) => event === 'request.failed')).toHaveLength(1)
  })

  it('are each of who signed it, between others that nobody signed', async () => {
    const { gateway, ask } = await open()
    const before = gateway.of('publish').length
    const answers = await ask(send('a', 1), send('b', 1, { AccessKey: 'ada', Signature: '' }), send('c', 1))
    expect(codes(answers)).toEqual({ 100: 0, 101: 0, 102: 0 })
    const whose = gateway.commands.flatMap(({ command, context }) =>
      command.kind === 'publish' ? [[context.principal.name, ...command.messages.map(bodyOf)]] : [],
    )
    expect(whose.slice(before).sort()).toEqual([
      ['ada', 'b'],
      ['anonymous', 'a'],
      ['anonymous', 'c'],
    ])
  })

  it('are all refused when their command is', async () => {
    const { gateway, ask } = await open()
    gateway.failNext('publish', new Fault('unavailable', 'no disk'))
    const answers = await ask(send('a', 1), send('b', 1), send('c', 2))
    expect(codes(answers)).toEqual({
      100: response.serviceNotAvailable,
      101: response.serviceNotAvailable,
      102: 0,
    })
  })

  it('that are over quota together are tried one by one', async () => {
    const { gateway, ask, commands } = await open()
    gateway.failNext('publish', new Fault('throttled', 'slower', { retryAfter: 100 }), 2)
    const answers = await ask(send('a', 1), send('b', 1), send('c', 1))
    expect(commands().map(({ bodies }) => bodies)).toEqual(['a b c', 'a', 'b', 'c'])
    expect(codes(answers)).toEqual({ 100: response.flowControl, 101: 0, 102: 0 })
  })

  it('stay apart where they differ in topic, in group or in who waits, and keep their order', async () => {
    const { ask, commands } = await open()
    const oneway = { ...send('c', 1), flag: 2 }
    const all = [
      send('a', 1),
      send('b', 1, { b: 'U' }),
      oneway,
      send('d', 1),
      send('e', 1, { a: 'other' }),
      send('f', 1),
    ]
    const answers = await ask(...all)
    expect(commands()).toEqual([
      { queue: 1, bodies: 'a' },
      { queue: 1, bodies: 'b' },
      { queue: 1, bodies: 'c', oneway: true },
      { queue: 1, bodies: 'd' },
      { queue: 1, bodies: 'e' },
      { queue: 1, bodies: 'f' },
    ])
    expect(Object.keys(codes(answers))).toEqual(['100', '101', '103', '104', '105'])
  })

  it('nobody waits for are one command too, and never answered', async () => {
    const { ask, commands } = await open()
    expect(await ask(...['a', 'b', 'c'].map((body) => ({ ...send(body, 1), flag: 2 })))).toEqual([])
    expect(commands()).toEqual([{ queue: 1, bodies: 'a b c', oneway: true }])
  })

  it('are cut by any other request, by a batch and by a request for a reply', async () => {
    const { gateway, one, ask, commands } = await open()
    await one.heartbeat('c1', [], ['PG'])
    const other = { code: request.getMaxOffset, ext: { topic: 'T', queueId: 1 } }
    const asking = send('e', 1, { i: 'REPLY_TO_CLIENT\x01c1\x02CORRELATION_ID\x011\x02' })
    const member = '\0\0\0\x17\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01g\0\0'
    const batch = send(member + member, 1, { m: 'true' })
    const answers = await ask(send('a', 1), send('b', 1), other, send('c', 1), batch, send('d', 1), asking)
    expect(commands().map(({ bodies }) => bodies)).toEqual(['a b', 'c', 'g g', 'd', 'e'])
    const kinds = gateway.commands.map(({ command }) => command.kind)
    expect(kinds.indexOf('queryOffset')).toBeLessThan(kinds.lastIndexOf('publish'))
    expect(Object.values(codes(answers))).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  it('are half messages as well', async () => {
    const { ask, commands } = await open()
    const half = (id: string) => send(id, 1, { i: `TRAN_MSG\x01true\x02PGROUP\x01PG\x02UNIQ_KEY\x01${id}\x02`, f: 4 })
    const answers = await ask(half('A'), half('B'), send('c', 1))
    expect(commands()).toEqual([{ queue: 1, bodies: 'A B c' }])
    const decide = ({ ext }: Frame): Asked => ({
      code: request.endTransaction,
      ext: {
        producerGroup: 'PG',
        commitOrRollback: 8,
        commitLogOffset: Number.parseInt(ext.msgId?.slice(16) ?? '', 16),
        tranStateTableOffset: ext.queueOffset ?? '',
      },
    })
    expect(codes(await ask(...answers.slice(0, 2).map(decide)))).toEqual({ 100: 0, 101: 0 })
  })

  it('are bounded in number and bytes', async () => {
    const { ask, commands } = await open()
    await ask(...Array.from({ length: RUN_MAX + 1 }, () => send('x', 1)))
    expect(commands().map(({ bodies }) => bodies.split(' ').length)).toEqual([RUN_MAX, 1])
    const half = 'x'.repeat(RUN_BYTES / 2)
    await ask(send(half, 2), send(half, 2), send('y', 2))
    expect(
      commands()
        .slice(2)
        .map(({ bodies }) => bodies.length),
    ).toEqual([RUN_BYTES + 1, 1])
  })

  it('count each against what may be in flight', async () => {
    const { gateway, ask, commands } = await open({ limits: { inflight: 3 } })
    const hold = gateway.hold('publish')
    const answers = await ask(...'abcde'.split('').map((body) => send(body, 1)))
    expect([answers, commands()]).toEqual([[], [{ queue: 1, bodies: 'a b c' }]])
    hold.release()
    await turns()
    expect(commands()).toEqual([
      { queue: 1, bodies: 'a b c' },
      { queue: 1, bodies: 'd e' },
    ])
  })
})

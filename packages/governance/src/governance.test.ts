import {
  type CommandOf,
  type Context,
  compose,
  defaultLimits,
  Fault,
  type FaultCode,
  type Handle,
  type Interceptor,
  type Kind,
  type Principal,
  type ReplyTo,
  type Session,
  Wheel,
} from '@sluice/core'
import { batchOf, fakeClock } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { type Governance, governance, oneNode } from './index.ts'
import type { Meter } from './measure.ts'

const principal: Principal = { name: 'p', tenant: '', super: true }
const session = (protocol = 'p'): Session => ({
  id: `s/${protocol}`,
  client: 'c',
  principal,
  protocol,
  language: '',
  version: 0,
  remoteAddress: '127.0.0.1:1',
  localAddress: '127.0.0.1:2',
  notify: async () => undefined,
})
const ask: CommandOf<'topic'> = { kind: 'topic', topic: 't' }
const pop: CommandOf<'pop'> = {
  kind: 'pop',
  source: { kind: 'group', topic: 't', group: 'g' },
  max: 1,
  invisible: 1_000,
  wait: 1_000,
  fifo: false,
}

const setUp = (more: Partial<Governance> = {}) => {
  const clock = fakeClock()
  const wheel = new Wheel(clock)
  const calls: { command: CommandOf<Kind>; context: Context }[] = []
  const answers: ((outcome: object | Fault) => void)[] = []
  const core: Handle = <K extends Kind>(command: CommandOf<K>, context: Context) => {
    calls.push({ command, context })
    return new Promise<ReplyTo<K>>((resolve, reject) => {
      answers.push((outcome) => (Fault.is(outcome) ? reject(outcome) : resolve(outcome as ReplyTo<K>)))
    })
  }
  const handle = compose(governance({ limits: defaultLimits, wheel, clock, router: oneNode('n'), ...more }), core)
  const context = (who = session()): Context => ({ session: who, principal, deadline: clock.now() + 1_000 })
  return { clock, wheel, calls, answers, handle, context }
}

const codeOf = (promise: Promise<unknown>): Promise<FaultCode> =>
  promise.then(
    () => expect.unreachable('was answered'),
    (error: unknown) => Fault.from(error).code,
  )

describe('governance', () => {
  it('sends a command to its node and gives its reply back', async () => {
    const { handle, context, calls, answers } = setUp()
    const reply = handle<'topic'>(ask, context())
    expect(calls[0]!.context.node).toBe('n')
    answers[0]!({ topic: 't' })
    expect(await reply).toEqual({ topic: 't' })
  })

  it('keeps its order whatever is plugged in', async () => {
    const seen: string[] = []
    const stage =
      (name: string): Interceptor =>
      (next) =>
      (command, context) => {
        seen.push(`${name}${context.node ? ' after route' : ''}`)
        return next(command, context)
      }
    const { handle, context } = setUp({
      tracer: { start: () => void seen.push('trace') },
      tenancy: stage('tenancy'),
      authorize: stage('authorize'),
      quota: stage('quota'),
      darkRoom: stage('darkRoom'),
      breaker: stage('breaker'),
    })
    void handle<'topic'>(ask, context())
    expect(seen).toEqual(['trace', 'tenancy', 'authorize', 'quota', 'darkRoom after route', 'breaker after route'])
  })

  it('is not there where it has nothing to do', () => {
    const core: Handle = () => new Promise(() => undefined)
    const stages = governance({
      limits: defaultLimits,
      wheel: new Wheel(fakeClock()),
      clock: fakeClock(),
      router: oneNode('n'),
    })
    const through = stages.map((stage) => stage(core))
    expect(through.filter((handle) => handle === core)).toHaveLength(6)
  })

  describe('bounds', () => {
    const limits = { ...defaultLimits, sessionInflight: 2, parked: 1 }

    it('refuses what one session has too much of under way, and only that session', async () => {
      const { handle, context, answers } = setUp({ limits })
      const who = session('a')
      void handle<'topic'>(ask, context(who))
      const second = handle<'topic'>(ask, context(who))
      expect(await codeOf(handle<'topic'>(ask, context(who)))).toBe('busy')
      void handle<'topic'>(ask, context(session('b')))
      answers[1]!({})
      await second
      void handle<'topic'>(ask, context(who))
      expect(answers).toHaveLength(4)
    })

    it('counts parked polls apart from work', async () => {
      const { handle, context, answers } = setUp({ limits })
      const who = session('a')
      void handle<'pop'>(pop, context(who))
      expect(await codeOf(handle<'pop'>(pop, context(who)))).toBe('busy')
      void handle<'topic'>(ask, context(who))
      expect(answers).toHaveLength(2)
    })

    it('forgets a command that failed', async () => {
      const { handle, context, answers } = setUp({ limits: { ...limits, sessionInflight: 1 } })
      const who = session('a')
      for (let n = 0; n < 5; n++) {
        const reply = handle<'topic'>(ask, context(who))
        answers[n]!(new Fault('topicNotFound', 'no'))
        expect(await codeOf(reply)).toBe('topicNotFound')
      }
    })
  })

  describe('deadline', () => {
    it('says that nobody can know for what may have been done, and less where asking changes nothing', async () => {
      const { handle, context, clock } = setUp()
      const write = codeOf(
        handle<'commitOffset'>(
          { kind: 'commitOffset', queue: { topic: 't', node: 'n', index: 0 }, group: 'g', offset: 1 },
          context(),
        ),
      )
      const read = codeOf(handle<'topic'>(ask, context()))
      await clock.pass(900)
      await clock.pass(300)
      expect([await write, await read]).toEqual(['outcomeUnknown', 'unavailable'])
    })

    it('leaves nothing on the wheel once a command is answered', async () => {
      const { handle, context, answers, wheel } = setUp()
      const reply = handle<'topic'>(ask, context())
      expect(wheel.size).toBe(1)
      answers[0]!({})
      await reply
      expect(wheel.size).toBe(0)
    })

    it('gives back what a late pop took', async () => {
      const { handle, context, clock, answers, calls } = setUp()
      const late = codeOf(handle<'pop'>(pop, context()))
      await clock.pass(1_200)
      expect(await late).toBe('outcomeUnknown')
      const receipt = {
        of: 'group' as const,
        node: 'n',
        topic: 't',
        group: 'g',
        queue: 0,
        offset: 0,
        place: 0,
        first: 0,
        poppedAt: 0,
        invisible: 1,
        revive: 0,
        retry: 0 as const,
        attempt: 1,
      }
      answers[0]!({ batch: batchOf([{ message: {} as never, attempt: 1, receipt }]), more: false })
      await clock.pass(1)
      expect(calls[1]!.command).toMatchObject({
        kind: 'settle',
        receipts: [receipt],
        outcome: { kind: 'retry', after: 0, counts: false },
      })
    })
  })

  it('measures outcomes, polls, and messages in and out, those that were refused not among them', async () => {
    const stored = { id: 'i', queue: { topic: 't', node: 'n', index: 0 }, offset: 0, place: 0 }
    const seen: unknown[] = []
    const meter: Meter = {
      began: (protocol) => void seen.push(['began', protocol]),
      ended: (protocol, kind, outcome) => void seen.push([protocol, kind, outcome]),
      messagesIn: (protocol, messages, bytes) => void seen.push(['in', protocol, messages, bytes]),
      messagesOut: (protocol, messages) => void seen.push(['out', protocol, messages]),
      polls: (protocol, change) => void seen.push(['polls', protocol, change]),
    }
    const { handle, context, answers } = setUp({ meter })
    const publish = handle<'publish'>(
      {
        kind: 'publish',
        oneway: false,
        messages: [3, 5].map((bytes) => ({ topic: 't', body: Buffer.alloc(bytes), properties: {} })),
      },
      context(),
    )
    answers[0]!({ stored: [stored, new Fault('tooLarge', 'no')] })
    await publish
    const popped = handle<'pop'>({ ...pop, wait: 5 }, context())
    answers[1]!({ batch: batchOf([]), more: false })
    await popped
    const refused = codeOf(handle<'topic'>(ask, context()))
    answers[2]!(new Fault('forbidden', 'no'))
    await refused
    expect(seen).toEqual([
      ['began', 'p'],
      ['p', 'publish', 'ok'],
      ['in', 'p', 1, 3],
      ['began', 'p'],
      ['polls', 'p', 1],
      ['polls', 'p', -1],
      ['p', 'pop', 'ok'],
      ['out', 'p', 0],
      ['began', 'p'],
      ['p', 'topic', 'forbidden'],
    ])
  })
})

import { type FakeClock, fakeClock } from '@sluice/testkit'
import {
  type CommandOf,
  type Context,
  createPump,
  type Delivered,
  Fault,
  type Handle,
  type Kind,
  type Lease,
  type Pump,
  type PumpOptions,
  type Receipt,
  type Replies,
  type Session,
  type Source,
  type StoredMessage,
  Wheel,
} from '../src/index.ts'

const session = { id: 'test/1', client: 'test' } as Session
const group: Source = { kind: 'group', topic: 'orders', group: 'workers' }

export const lease = (offset: number): Lease => ({
  of: 'group',
  node: 'a',
  topic: 'orders',
  group: 'workers',
  queue: 0,
  offset,
  place: offset,
  first: 0,
  poppedAt: 1,
  invisible: 30_000,
  revive: 0,
  retry: 0,
  attempt: 1,
})

export const delivered = (offset: number, receipt: Receipt | undefined = lease(offset)): Delivered => ({
  message: { id: String(offset), topic: 'orders' } as StoredMessage,
  attempt: 1,
  ...(receipt && { receipt }),
})

/** A call that waits for the test to answer it. */
export interface Call<K extends Kind> {
  readonly command: CommandOf<K>
  readonly context: Context
  reply(reply: Replies[K]): void
  fail(error: unknown): void
}

export interface Bench {
  readonly pump: Pump
  readonly clock: FakeClock
  readonly wheel: Wheel
  /** Commands that wait for their reply, oldest first. */
  readonly pops: Call<'pop'>[]
  readonly settles: Call<'settle'>[]
  readonly got: Delivered[][]
  readonly faults: Fault[]
  /** Told through `returned`. */
  returned: number
  /** Answers the oldest pop. */
  give(...messages: Delivered[]): void
}

/** A pump whose store is the test. */
export const bench = (options: Partial<PumpOptions> = {}): Bench => {
  const clock = fakeClock()
  const wheel = new Wheel(clock)
  const pops: Call<'pop'>[] = []
  const settles: Call<'settle'>[] = []
  const handle = ((command: CommandOf<Kind>, context: Context) =>
    new Promise((reply, fail) => {
      const calls = (command.kind === 'pop' ? pops : settles) as Call<Kind>[]
      calls.push({ command, context, reply, fail })
      context.signal?.addEventListener('abort', () => fail(new Error('aborted')))
    })) as Handle
  const got: Delivered[][] = []
  const faults: Fault[] = []
  const support = {
    handle,
    clock,
    wheel,
    pollMs: 30_000,
    context: (of: Session, patience: number, more: object | undefined) =>
      ({ session: of, principal: of.principal, deadline: clock.now() + patience, ...more }) as Context,
    returned: (_: Session, messages: number) => {
      it.returned += messages
    },
  }
  const it: Bench = {
    pump: createPump(support, group, {
      session,
      invisible: 30_000,
      batch: 32,
      fifo: false,
      deliver: (batch) => void got.push([...batch]),
      failed: (fault) => void faults.push(fault),
      ...options,
    }),
    clock,
    wheel,
    pops,
    settles,
    got,
    faults,
    returned: 0,
    give(...messages) {
      pops.shift()!.reply({
        batch: { count: messages.length, bytes: undefined, [Symbol.iterator]: () => messages.values() },
        more: false,
      })
    },
  }
  return it
}

export const receiptsOf = (call: Call<'settle'>) =>
  call.command.receipts.map((receipt) => (receipt.of === 'group' ? receipt.offset : -receipt.slot))

export const ok: Replies['settle'] = { failed: [] }
export const trouble = (retryAfter?: number) =>
  new Fault('unavailable', 'node is away', retryAfter === undefined ? {} : { retryAfter })

import { cpSync, rmSync } from 'node:fs'
import { cp, mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock, CommandOf, Context, Delivered, Fault, Kind, Message, Notice, Outcome, ReplyTo } from '@sluice/core'
import { type Broker, type BrokerOptions, openBroker } from '../src/broker.ts'
import { type FileLayer, realFiles } from '../src/files.ts'
import type { Rests } from '../src/pace.ts'

/** Time that stands still until a test moves it. */
export class TestClock implements Clock {
  #now: number
  readonly #timers = new Set<{ at: number; period: number; run: () => void }>()
  /** Whether something is on its way that no timer waits for: it is waited for as long as a disk may take. */
  isBusy = () => false
  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }
  now(): number {
    return this.#now
  }
  every(period: number, run: () => void): () => void {
    return this.#set(period, period, run)
  }
  after(delay: number, run: () => void): () => void {
    return this.#set(delay, 0, run)
  }
  #set(delay: number, period: number, run: () => void): () => void {
    const timer = { at: this.#now + delay, period, run }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }
  /** As after a long sleep: periodic work is done once, not once a period. */
  async jump(ms: number): Promise<void> {
    this.#now += ms
    for (const timer of this.#timers) timer.at = Math.max(timer.at, this.#now)
    await this.advance(100)
    await this.#settled(20)
  }

  /** Runs what falls due on the way, and lets promises settle and files be read in between. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.#now = Math.max(this.#now, next.at)
      if (next.period > 0) next.at += next.period
      else this.#timers.delete(next)
      next.run()
      await this.#settled()
    }
    this.#now = until
    await this.#settled()
  }

  async #settled(turns = 4): Promise<void> {
    await turn(turns)
    for (let left = BUSY_TURNS; left > 0 && this.isBusy(); left--) await turn(turns)
  }
}

const BUSY_TURNS = 100_000

/** Everything that is ready has run. */
export const turn = async (turns = 4): Promise<void> => {
  for (let left = turns; left > 0; left--) await new Promise((resolve) => setImmediate(resolve))
}

export const contextOf = (client = 'c', more: Partial<Context> = {}): Context => {
  const principal = { name: client, tenant: '', super: true }
  return {
    session: {
      id: `test/${client}`,
      client,
      principal,
      protocol: 'test',
      language: 'js',
      version: 1,
      remoteAddress: '127.0.0.1:5',
      localAddress: '127.0.0.1:6',
      notify: async () => undefined,
    },
    principal,
    deadline: Number.MAX_SAFE_INTEGER,
    ...more,
  }
}

export const message = (topic: string, body: string | Buffer, more: Partial<Message> = {}): Message => ({
  topic,
  body: Buffer.from(body as string),
  properties: {},
  ...more,
})

/** A broker that can be closed and opened again, with short words for the commands of tests. */
/** In one turn, so that the broker goes on with nothing meanwhile; false: a file that was on its way went during the copy. */
const copied = (from: string, to: string): boolean => {
  rmSync(to, { recursive: true, force: true })
  try {
    cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith('/lock') })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return false
  }
}

/** Counts the opens and reads that are on their way. */
class Reads {
  now = 0

  of(files: FileLayer): FileLayer {
    const open: FileLayer['open'] = async (path, how) => {
      const file = await this.#count(files.open(path, how))
      const { read } = file
      file.read = (...asked) => this.#count(read.apply(file, asked))
      return file
    }
    return Object.assign(Object.create(files) as FileLayer, { open })
  }

  async #count<T>(asked: Promise<T>): Promise<T> {
    this.now++
    try {
      return await asked
    } finally {
      this.now--
    }
  }
}

/** Readers who are behind wait for no time that passes elsewhere. */
const noRests: Rests = { now: () => 0, pause: () => turn(1) }

export class Bench {
  readonly clock = new TestClock()
  readonly #reads = new Reads()
  readonly lines: { level: string; event: string; fields: object | undefined }[] = []
  readonly notices: Notice[] = []
  dir: string
  broker!: Broker
  readonly #options: Partial<BrokerOptions>

  constructor(dir: string, options: Partial<BrokerOptions>) {
    this.dir = dir
    this.#options = options
    this.clock.isBusy = () => this.#reads.now > 0
  }

  static async start(options: Partial<BrokerOptions> = {}): Promise<Bench> {
    const dir = await mkdtemp(join(tmpdir(), 'sluice-broker-'))
    const bench = new Bench(dir, options)
    await bench.open()
    return bench
  }

  async open(options: Partial<BrokerOptions> = {}): Promise<Broker> {
    const line = (level: string) => (event: string, fields?: object) => void this.lines.push({ level, event, fields })
    const log = { info: line('info'), warn: line('warn'), error: line('error') }
    const asked = { rests: noRests, ...this.#options, ...options }
    const files = this.#reads.of(asked.files ?? realFiles)
    this.broker = await openBroker({ dir: this.dir, clock: this.clock, log, ...asked, files })
    this.broker.onNotice(async (_to, notice) => void this.notices.push(notice))
    return this.broker
  }

  async reopen(options: Partial<BrokerOptions> = {}): Promise<void> {
    await this.broker.close()
    await this.open(options)
  }

  /** As after kill -9: what stands in the files goes on elsewhere, nothing was said farewell. */
  async kill(options: Partial<BrokerOptions> = {}): Promise<void> {
    const before = this.broker
    const dir = await mkdtemp(join(tmpdir(), 'sluice-broker-'))
    while (!copied(this.dir, dir)) await turn()
    await before.close()
    await rm(this.dir, { recursive: true, force: true })
    this.dir = dir
    await this.open(options)
  }

  /**
   * What a start makes of a log that ends at each of some positions within what was appended by `run`: as after a power
   * cut in the middle of its write. There the file ends, or the zeros that were laid ahead go on. Only while the log is
   * one segment.
   */
  async torn(run: () => Promise<unknown>, check: (bench: Bench) => Promise<void>): Promise<void> {
    const from = this.broker.stats().end
    await run()
    const to = this.broker.stats().end
    const zeros = to - from
    for (let at = from, turns = 0; ; at = Math.min(to, at + 7), turns++) {
      const dir = await mkdtemp(join(tmpdir(), 'sluice-broker-'))
      await cp(this.dir, dir, { recursive: true, filter: (path) => !/\/(lock|snapshot-\d+|\d+\.index)$/.test(path) })
      const log = join(dir, '0'.repeat(20))
      await truncate(log, at)
      if (turns % 2 === 1) await truncate(log, at + zeros)
      const bench = new Bench(dir, this.#options)
      await bench.open()
      await bench.clock.jump(60_000)
      await check(bench)
      await bench.end()
      if (at === to) return
    }
  }

  async end(): Promise<void> {
    await this.broker.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  run<K extends Kind>(command: CommandOf<K>, context = contextOf()): Promise<ReplyTo<K>> {
    return this.broker.execute<K>(this.broker.node, command, context)
  }

  async publish(...messages: Message[]) {
    const { stored } = await this.run<'publish'>({ kind: 'publish', messages, oneway: false })
    return stored.map((one) => {
      if (one instanceof Error) throw one
      return one
    })
  }

  async pop(
    topic: string,
    more: Partial<CommandOf<'pop'>> & { group?: string; client?: string; signal?: AbortSignal } = {},
  ) {
    const { group = 'g', client, signal, ...rest } = more
    const command: CommandOf<'pop'> = {
      kind: 'pop',
      source: { kind: 'group', topic, group },
      max: 32,
      invisible: 30_000,
      wait: 0,
      fifo: false,
      ...rest,
    }
    return [...(await this.run<'pop'>(command, contextOf(client, signal ? { signal } : {}))).batch]
  }

  settle(delivered: readonly Delivered[], outcome: Outcome = { kind: 'accept' }) {
    return this.run<'settle'>({ kind: 'settle', receipts: delivered.map(({ receipt }) => receipt!), outcome })
  }
}

export const bodies = (delivered: Iterable<Delivered>): string[] =>
  [...delivered].map(({ message: { body } }) => body.toString())

/** The Fault that a promise ends with. */
export const faultOf = async (promise: Promise<unknown>): Promise<Pick<Fault, 'code' | 'about'>> => {
  try {
    await promise
  } catch (error) {
    const { code, about } = error as Fault
    return { code, about }
  }
  throw new Error('no fault')
}

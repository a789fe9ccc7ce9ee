import { totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import {
  type Backend,
  type Clock,
  type Context,
  Fault,
  type Log as Lines,
  type ReplyTo,
  systemClock,
  Wheel,
} from '@sluice/core'
import { noHost, parseHost } from '@sluice/remoting'
import { Checkpoints } from './checkpoints.ts'
import { Core, type Counters, noCounts } from './core.ts'
import type { Spread } from './durations.ts'
import { type FileLayer, realFiles } from './files.ts'
import type { Resumption } from './inboxCommands.ts'
import { Keys } from './keys.ts'
import { Log } from './log.ts'
import { LogBroker } from './logBroker.ts'
import { type Rests, realRests } from './pace.ts'
import { recover } from './recovery.ts'
import { defaultRetain, Retention } from './retention.ts'
import { Segments } from './segments.ts'
import { type Bounds, defaultBounds, State } from './state.ts'
import { NODE_NAME } from './topics.ts'

export interface BrokerOptions {
  /** Directory of its own; made if it is not there. */
  readonly dir: string
  readonly node?: string
  readonly cluster?: string
  readonly files?: FileLayer
  readonly clock?: Clock
  readonly log?: Lines
  /**
   * 'sync': what is acknowledged survives a kill and a power cut. 'async': it survives a kill, but up to half a second
   * of acknowledged messages and settlements may be gone after a power cut.
   */
  readonly flush?: 'sync' | 'async'
  readonly segmentBytes?: number
  /** Newest bytes of the log kept in memory for consumers that are up to date. */
  readonly cacheBytes?: number
  readonly autoCreateTopics?: boolean
  readonly defaultQueues?: number
  /** Whole segments are deleted when their newest message is older than `ms` or the log is larger than `bytes`. */
  readonly retain?: { readonly ms?: number; readonly bytes?: number }
  /**
   * In every record and offsetMsgId: where a RocketMQ client finds the message again. A port of 0 is looked at again with
   * each message: it may be known only when somebody listens.
   */
  readonly storeHost?: { readonly address: string; readonly port: number }
  readonly bodyBytes?: number
  readonly bounds?: Partial<Bounds>
  /** How those rest who read what is in the files only; default: in real time, whatever the clock says. */
  readonly rests?: Rests
  /** Newest bytes of the log that the system is trusted to have in its memory still; default: 40 % of what it has. */
  readonly recentBytes?: number
}

/** What admin pages and metrics show. */
export interface BrokerStats extends Counters {
  readonly topics: number
  readonly groups: number
  readonly inboxes: number
  readonly parked: number
  /** Messages that wait for their time. */
  readonly delayed: number
  /** Transactions without a decision. */
  readonly halves: number
  readonly segments: number
  /** First and last position of the log. */
  readonly start: number
  readonly end: number
  readonly syncs: number
  readonly syncTimes: Spread
  readonly flush: 'sync' | 'async'
  /** Nothing is acknowledged any more: the disk failed. */
  readonly failed: boolean
}

export interface Broker extends Backend {
  readonly node: string
  readonly dir: string
  /** @throws Fault 'conflict' about 'epoch' when somebody opened the inbox since; 'limit' about 'inbox'; 'unavailable' */
  resume(node: string, resumption: Resumption, context: Context): Promise<ReplyTo<'open'>>
  stats(): BrokerStats
}

const quiet: Lines = { info: () => undefined, warn: () => undefined, error: () => undefined }

/**
 * Opens the broker of a directory, recovering what is there.
 * @throws Fault 'conflict' about 'dir' when another process holds it, 'invalid' about 'node' or 'storeHost'
 */
export const openBroker = async (options: BrokerOptions): Promise<Broker> => {
  const node = options.node ?? 'sluice-0'
  if (!NODE_NAME.test(node))
    throw new Fault('invalid', 'a node name is 1 to 64 letters, digits, ., _ and -', { about: 'node' })
  const files = options.files ?? realFiles
  await files.makeDir(options.dir)
  await files.syncDir(dirname(resolve(options.dir)))
  const unlock = await files.lock(options.dir)
  try {
    return await open(options, node, files, unlock)
  } catch (error) {
    await unlock()
    throw error
  }
}

const hostOf = ({ storeHost }: BrokerOptions) => {
  if (!storeHost) return noHost
  const { address, port } = storeHost
  const host = parseHost(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)
  if (!host) throw new Fault('invalid', `${address}:${port} is not an address`, { about: 'storeHost' })
  return host
}

const open = async (
  options: BrokerOptions,
  node: string,
  files: FileLayer,
  unlock: () => Promise<void>,
): Promise<Broker> => {
  const clock = options.clock ?? systemClock
  const lines = options.log ?? quiet
  let storeHost = hostOf(options)
  const known = () => !options.storeHost || storeHost.bytes.readUInt32BE(storeHost.bytes.length - 4) !== 0
  const counters = noCounts()
  const state = new State(node, { ...defaultBounds, ...options.bounds })
  const segments = new Segments(files, options.dir)
  const checkpoints = new Checkpoints(files, segments, clock, lines)
  const { file, end } = await recover({ segments, checkpoints, state, counters, clock, lines })
  const keys = new Keys(segments, checkpoints, lines, end)
  const rolled = (to: number) => {
    const saveKeys = keys.rolled(to)
    const sidecar = checkpoints.takeSidecar(state, to)
    const snapshot = checkpoints.isDue(to) ? checkpoints.takeSnapshot(state, log) : undefined
    state.standing.next()
    return async () => {
      await checkpoints.saveSidecar(sidecar)
      await saveKeys()
      const checkpoint = await snapshot
      if (checkpoint) {
        await log.syncedTo(checkpoint.until)
        await checkpoints.saveSnapshot(checkpoint)
      }
      lines.info('segment.sealed', { end: to })
      void retention.run()
    }
  }
  const log = new Log(
    {
      flush: options.flush ?? 'sync',
      segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024,
      cacheBytes: options.cacheBytes ?? 32 * 1024 * 1024,
      clock,
      lines,
      rolled,
    },
    segments,
    file,
    end,
  )
  const settings = {
    node,
    cluster: options.cluster ?? 'sluice',
    get address() {
      return options.storeHost ? `${options.storeHost.address}:${options.storeHost.port}` : ''
    },
    get storeHost() {
      if (!known()) storeHost = hostOf(options)
      return storeHost
    },
    autoCreateTopics: options.autoCreateTopics ?? true,
    defaultQueues: options.defaultQueues ?? 4,
    bodyBytes: options.bodyBytes ?? 4 * 1024 * 1024,
  }
  const core = new Core({
    state,
    log,
    segments,
    keys,
    clock,
    wheel: new Wheel(clock, WHEEL_MS),
    lines,
    settings,
    counters,
    rests: options.rests ?? realRests,
    recentBytes: options.recentBytes ?? systemMemory() * RECENT,
  })
  const retention = new Retention(core, checkpoints, { ...defaultRetain, ...options.retain })
  return new LogBroker(options, core, checkpoints, retention, unlock)
}

/** Part of the system's memory that holds the newest of what was written, where nothing larger runs beside it. */
const RECENT = 0.4

/** Bytes, of this process' container where it has a bound. */
const systemMemory = (): number => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)

const WHEEL_MS = 50

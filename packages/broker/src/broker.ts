import { dirname, resolve } from 'node:path'
import {
  type Addressee,
  type Backend,
  type Clock,
  type CommandOf,
  type Context,
  Fault,
  type Kind,
  type Log as Lines,
  type Notice,
  type ReplyTo,
  systemClock,
  Wheel,
} from '@sluice/core'
import { noHost, parseHost } from '@sluice/remoting'
import { publishAndAccept } from './accepts.ts'
import { admin, group } from './admin.ts'
import { Checkpoints } from './checkpoints.ts'
import { Core, type Counters, noCounts } from './core.ts'
import type { Spread } from './durations.ts'
import { type FileLayer, realFiles } from './files.ts'
import { Inboxes, type Resumption } from './inboxCommands.ts'
import { popInbox } from './inboxPop.ts'
import { Keys } from './keys.ts'
import { Log } from './log.ts'
import { Members } from './members.ts'
import { commitOffset, queryOffset } from './offsets.ts'
import { publishOnce } from './once.ts'
import { popGroup } from './pop.ts'
import { publish, recall } from './publish.ts'
import { read } from './read.ts'
import { recover } from './recovery.ts'
import { defaultRetain, Retention } from './retention.ts'
import { Segments } from './segments.ts'
import { settle } from './settle.ts'
import { type Bounds, defaultBounds, State } from './state.ts'
import { Timers } from './timers.ts'
import { topic } from './topicCommands.ts'
import { NODE_NAME } from './topics.ts'
import { Transactions } from './transactions.ts'
import { Wills } from './wills.ts'

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
  })
  const retention = new Retention(core, checkpoints, { ...defaultRetain, ...options.retain })
  return new LogBroker(options, core, checkpoints, retention, unlock)
}

const WHEEL_MS = 50

class LogBroker implements Broker {
  readonly node: string
  readonly dir: string
  readonly nodes: ReadonlySet<string>
  readonly can = { inboxes: true, atomicAccepts: true, uncountedRetry: true, sessionLease: true }
  readonly #options: BrokerOptions
  readonly #core: Core
  readonly #checkpoints: Checkpoints
  readonly #retention: Retention
  readonly #unlock: () => Promise<void>
  readonly #members: Members
  readonly #timers: Timers
  readonly #inboxes: Inboxes
  readonly #transactions: Transactions
  #closed: Promise<void> | undefined

  constructor(
    options: BrokerOptions,
    core: Core,
    checkpoints: Checkpoints,
    retention: Retention,
    unlock: () => Promise<void>,
  ) {
    this.#options = options
    this.#core = core
    this.#checkpoints = checkpoints
    this.#retention = retention
    this.#unlock = unlock
    this.node = core.settings.node
    this.dir = options.dir
    this.nodes = new Set([this.node])
    this.#members = new Members(core)
    this.#timers = new Timers(core)
    this.#inboxes = new Inboxes(core, new Wills(core))
    this.#inboxes.recovered()
    this.#transactions = new Transactions(core, this.#members)
    core.delayed = () => this.#timers.schedule()
    core.undecided = () => this.#transactions.schedule()
    this.#transactions.schedule()
    this.#timers.schedule()
  }

  execute<K extends Kind>(node: string, command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> {
    if (this.#closed) return Promise.reject(new Fault('unavailable', 'the broker is closed'))
    if (node !== this.node) return Promise.reject(new Fault('unavailable', `no node ${node}`, { node }))
    try {
      return Promise.resolve(this.#dispatch(command as CommandOf<Kind>, context) as ReplyTo<K>)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** What comes often, and what may wait for long, costs no promise more than it must. */
  async resume(node: string, resumption: Resumption, context: Context): Promise<ReplyTo<'open'>> {
    if (this.#closed || node !== this.node) throw new Fault('unavailable', `no node ${node}`, { node })
    return this.#inboxes.resume(resumption, context)
  }

  #dispatch(command: CommandOf<Kind>, context: Context): ReplyTo<Kind> | Promise<ReplyTo<Kind>> {
    const core = this.#core
    switch (command.kind) {
      case 'pop':
        return this.#pop(command, context)
      case 'publish':
        if (command.accepts && command.accepts.length > 0) return publishAndAccept(core, command, context)
        return command.once ? publishOnce(core, command, context) : publish(core, command, context)
      case 'read':
        return read(core, command, context, (source, max) => this.#transactions.browse(source, max))
      case 'open':
        return this.#inboxes.open(command, context)
      case 'bind':
        return this.#inboxes.bind(command)
      case 'settle':
        return settle(core, command)
      case 'commitOffset':
        return commitOffset(core, command)
      case 'queryOffset':
        return queryOffset(core, command)
      case 'topic':
        return topic(core, command)
      case 'group':
        return group(core, command)
      case 'heartbeat':
        return this.#members.heartbeat(command, context)
      case 'members':
        return this.#members.members(command)
      case 'lock':
        return this.#members.lock(command, context)
      case 'assign':
        return this.#members.assign(command, context)
      case 'leave':
        return this.#leave(command, context)
      case 'admin':
        return command.action.do === 'ask' ? this.#members.ask(command.action) : admin(core, command)
      case 'endTransaction':
        return this.#transactions.end(command)
      case 'recall':
        return recall(core, command)
    }
  }

  #pop(command: CommandOf<'pop'>, context: Context): Promise<ReplyTo<'pop'>> {
    const { source } = command
    if (source.kind === 'group') return popGroup(this.#core, command, source, context)
    if (source.kind === 'inbox') return popInbox(this.#core, command, source, context)
    return this.#transactions.pop(command, source, context)
  }

  async #leave({ what }: CommandOf<'leave'>, { session }: Context): Promise<ReplyTo<'leave'>> {
    if (what === 'all') {
      this.#members.leaveAll(session.id)
      this.#inboxes.leaveAll(session.id)
    } else if ('group' in what) this.#members.leaveGroup(what.group, session.id)
    else await this.#inboxes.leave(what)
    return {}
  }

  onNotice(listener: (to: Addressee, notice: Notice) => Promise<unknown>): void {
    this.#core.notify = listener
  }

  /** One node, always the same. */
  onNodes(_listener: (nodes: ReadonlySet<string>) => void): void {}

  stats(): BrokerStats {
    const { state, log, segments, parking, counters } = this.#core
    return {
      ...counters,
      topics: state.topics.size,
      groups: state.groups.size,
      inboxes: state.inboxes.size,
      parked: parking.size,
      delayed: state.delayed.size,
      halves: state.halves.size,
      segments: segments.list.length,
      start: segments.first,
      end: log.end,
      syncs: log.syncs,
      syncTimes: log.syncTimes.spread,
      flush: this.#options.flush ?? 'sync',
      failed: log.fault !== undefined,
    }
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    const core = this.#core
    core.parking.close()
    this.#members.close()
    this.#inboxes.close()
    await this.#timers.close()
    await this.#transactions.close()
    await this.#retention.close()
    core.wheel.close()
    await core.cold.ended()
    try {
      await core.log.close()
      if (core.log.synced === core.log.end) await this.#checkpoint()
    } catch (error) {
      core.lines.error('broker.close', { error: String(error) })
    } finally {
      await core.segments.close()
      await this.#unlock()
    }
  }

  /** So that the next start reads nothing of the log. */
  async #checkpoint(): Promise<void> {
    const { log, state } = this.#core
    const sidecar = this.#checkpoints.takeSidecar(state, log.end)
    const snapshot = await this.#checkpoints.takeSnapshot(state, log)
    await this.#checkpoints.saveSidecar(sidecar)
    await this.#checkpoints.saveSnapshot(snapshot)
  }
}

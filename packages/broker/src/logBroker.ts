import { type Addressee, type CommandOf, type Context, Fault, type Kind, type Notice, type ReplyTo } from '@sluice/core'
import { publishAndAccept } from './accepts.ts'
import { admin, group } from './admin.ts'
import type { Broker, BrokerOptions, BrokerStats } from './broker.ts'
import type { Checkpoints } from './checkpoints.ts'
import type { Core } from './core.ts'
import { Inboxes, type Resumption } from './inboxCommands.ts'
import { popInbox } from './inboxPop.ts'
import { Members } from './members.ts'
import { commitOffset, queryOffset } from './offsets.ts'
import { publishOnce } from './once.ts'
import { popGroup } from './pop.ts'
import { publish, recall } from './publish.ts'
import { read } from './read.ts'
import type { Retention } from './retention.ts'
import { settle } from './settle.ts'
import { Timers } from './timers.ts'
import { topic } from './topicCommands.ts'
import { Transactions } from './transactions.ts'
import { Wills } from './wills.ts'

/** Hands each command to what does it, and goes in the right order when it is closed. */
export class LogBroker implements Broker {
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

  /** What comes often, and what may wait for long, costs no promise more than it must. */
  execute<K extends Kind>(node: string, command: CommandOf<K>, context: Context): Promise<ReplyTo<K>> {
    if (this.#closed) return Promise.reject(new Fault('unavailable', 'the broker is closed'))
    if (node !== this.node) return Promise.reject(new Fault('unavailable', `no node ${node}`, { node }))
    try {
      return Promise.resolve(this.#dispatch(command as CommandOf<Kind>, context) as ReplyTo<K>)
    } catch (error) {
      return Promise.reject(error)
    }
  }

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

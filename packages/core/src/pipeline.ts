import type { Addressee, CommandOf, EpochMs, Kind, Notice, ReplyTo } from './model.ts'
import type { Signal } from './signal.ts'

/** The one door of the core: a command in, its reply out, or a thrown Fault. */
export type Handle = <K extends Kind>(command: CommandOf<K>, context: Context) => Promise<ReplyTo<K>>

export interface Context {
  readonly session: Session
  /** Of this request: remoting and gRPC sign each one; elsewhere the session's. */
  readonly principal: Principal
  readonly deadline: EpochMs
  /** Polls only. Aborting after the reply left the node gives the messages back. */
  readonly signal?: Signal
  readonly traceparent?: string
  /** Set by route. */
  readonly node?: string
}

export interface Principal {
  readonly name: string
  readonly tenant: string
  readonly super: boolean
}

export interface Session {
  /** Unique over all processes: `${process}/${counter}`. */
  readonly id: string
  /** What the client calls itself: member lists, notices, MQTT inbox. */
  readonly client: string
  readonly principal: Principal
  readonly protocol: string
  readonly language: string
  readonly version: number
  /** `host:port`. */
  readonly remoteAddress: string
  /** `host:port` that the client dialled: advertised back to it. */
  readonly localAddress: string
  notify(notice: Notice): Promise<unknown>
}

/**
 * Return `next(…)` itself where possible: a stage that awaits costs 0.3 to 0.5 µs. Only the stages that measure, route
 * or bound look at the result.
 */
export type Interceptor = (next: Handle) => Handle

export const compose = (stages: readonly Interceptor[], core: Handle): Handle =>
  stages.reduceRight((next, stage) => stage(next), core)

/** `gather`: how the replies of several parts become one. 'race' parks everywhere without taking (pop max 0), then takes at one. */
export interface Plan<K extends Kind> {
  readonly parts: readonly Part<K>[]
  readonly gather: 'only' | 'all' | 'race' | 'home'
}

export interface Part<K extends Kind> {
  readonly node: string
  readonly command: CommandOf<K>
  /** Places of its items in the whole. */
  readonly at?: readonly number[]
}

/** Synchronous when the route is cached. */
export interface Router {
  plan<K extends Kind>(command: CommandOf<K>, context: Context): Plan<K> | Promise<Plan<K>>
}

export interface Backend {
  readonly nodes: ReadonlySet<string>
  /** What this backend can do; what it cannot is refused with `unsupported`, never silently weaker. */
  readonly can: {
    readonly inboxes: boolean
    readonly atomicAccepts: boolean
    readonly uncountedRetry: boolean
    readonly sessionLease: boolean
  }
  execute<K extends Kind>(node: string, command: CommandOf<K>, context: Context): Promise<ReplyTo<K>>
  onNotice(listener: (to: Addressee, notice: Notice) => Promise<unknown>): void
  onNodes(listener: (nodes: ReadonlySet<string>) => void): void
  close(): Promise<void>
}

/** A poll may wait for messages; it has its own bound and is the first thing that a drain wakes. */
export const waitOf = (command: { kind: Kind; wait?: number }): number => command.wait ?? 0

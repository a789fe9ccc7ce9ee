import type { BrokerStats } from '@sluice/broker'
import type { CommandOf, EpochMs, Kind, Log, Ms, ReplyTo } from '@sluice/core'

export interface Settings {
  readonly flush: 'sync' | 'async'
  readonly segmentBytes: number
  readonly retainBytes: number
}

/** One life of a broker as its clients reach it, in this process or in another. */
export interface Subject {
  readonly node: string
  /** It is dead: no refusal means anything any more. */
  readonly isDown: boolean
  execute<K extends Kind>(command: CommandOf<K>): Promise<ReplyTo<K>>
  stats(): Promise<BrokerStats>
  close(): Promise<void>
}

/** Where a broker lives, dies in the middle of its work, and comes back. Time is the same in all of its lives. */
export interface Site {
  /** What was popped stays with its consumer when the broker dies. */
  readonly keepsLeases: boolean
  now(): EpochMs
  pass(ms: Ms): Promise<void>
  /** At once: periodic work is done once and not once a period. */
  leap(ms: Ms): Promise<void>
  /** @param log told of what the broker says of itself, as long as it lives */
  open(settings: Settings, log: Log): Promise<Subject>
  /** Resolves when the broker has nothing to do. */
  idle(): Promise<void>
}

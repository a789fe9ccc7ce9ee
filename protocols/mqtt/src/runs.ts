import type { Message } from '@sluice/core'
import type { Place } from './answers.ts'

/** Most messages of a run. */
export const RUN_MAX = 256

/**
 * Messages that came in one read, one behind the other, for one topic of the broker and with one QoS: stored by one
 * command. What governs topics sees no difference.
 */
export interface Run {
  readonly qos: 0 | 1
  readonly topic: string
  readonly messages: Message[]
  /** With QoS 1, one for each message. */
  readonly ids: number[]
  readonly places: Place[]
  /** Resolves when all are answered. */
  readonly done: Promise<void>
  readonly resolve: () => void
}

/** Where runs are stored. */
interface Store {
  /** Never rejects. */
  storeRun(run: Run): Promise<void>
}

/** The run that is being collected: until the read ends, or something comes that must stand behind it. */
export class Runs {
  readonly #store: Store
  #run: Run | undefined

  constructor(store: Store) {
    this.#store = store
  }

  /** The run that such a message belongs to. */
  of(qos: 0 | 1, topic: string): Run {
    const known = this.#run
    if (known && known.qos === qos && known.topic === topic && known.messages.length < RUN_MAX) return known
    this.cut()
    const { promise: done, resolve } = Promise.withResolvers<void>()
    queueMicrotask(() => this.cut())
    return (this.#run = { qos, topic, messages: [], ids: [], places: [], done, resolve })
  }

  /** What has been collected is on its way when this returns. */
  cut(): void {
    const run = this.#run
    if (!run) return
    this.#run = undefined
    void this.#store.storeRun(run).then(run.resolve)
  }
}

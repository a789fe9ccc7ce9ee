import { randomUUID } from 'node:crypto'
import { type Clock, Fault, type Ms } from '@sluice/core'
import type { TelemetryCommand } from './wire.ts'

/** How long an answer of a client is waited for, as the proxy does. */
const ANSWER: Ms = 5_000
/** Questions to one client that wait for their answer. */
const QUESTIONS_MAX = 64

type Say = (command: TelemetryCommand) => void

/** What can be said to a client: by its telemetry streams, of which the one that spoke last is used. */
export class Line {
  readonly #clock: Clock
  readonly #streams = new Set<Say>()
  readonly #asked = new Map<string, (answer: TelemetryCommand) => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The stream told its settings: it is the one to use now. */
  spoke(say: Say): void {
    this.#streams.delete(say)
    this.#streams.add(say)
  }

  closed(say: Say): void {
    this.#streams.delete(say)
  }

  /** @throws Fault 'unavailable' when the client has no stream here */
  tell(command: TelemetryCommand): void {
    const say = [...this.#streams].at(-1)
    if (!say) throw new Fault('unavailable', 'the client has no telemetry stream here')
    say(command)
  }

  /** @throws Fault 'unavailable', 'limit', 'outcomeUnknown' without an answer in 5 s */
  async ask(question: (nonce: string) => TelemetryCommand): Promise<TelemetryCommand> {
    if (this.#asked.size >= QUESTIONS_MAX) throw new Fault('limit', 'the client has questions enough')
    const nonce = randomUUID()
    return new Promise((resolve, reject) => {
      const stop = this.#clock.after(ANSWER, () => {
        this.#asked.delete(nonce)
        reject(new Fault('outcomeUnknown', 'the client did not answer'))
      })
      const done = (answer: TelemetryCommand) => {
        stop()
        this.#asked.delete(nonce)
        resolve(answer)
      }
      this.#asked.set(nonce, done)
      try {
        this.tell(question(nonce))
      } catch (error) {
        stop()
        this.#asked.delete(nonce)
        reject(error as Error)
      }
    })
  }

  /** What answers no question, or too late, is dropped. Node answers a verification by the command itself. */
  heard(answer: TelemetryCommand): void {
    const { nonce } = answer.thread_stack_trace ?? answer.verify_message_result ?? answer.verify_message_command ?? {}
    if (nonce !== undefined) this.#asked.get(nonce)?.(answer)
  }
}

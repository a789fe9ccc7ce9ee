import type { Agent, Listening, Sent } from '../../interop/remoting/agent.ts'
import { base64, pause, REBALANCED_MS, textOf, until } from '../../interop/remoting/common.ts'

const SENDERS = 3
const AT_ONCE = 5
const PAUSE_MS = 20

export interface Counted {
  readonly sent: number
  /** What its own retries did not save. */
  readonly failed: readonly Sent[]
  readonly slowestMs: number
  readonly lost: number
  readonly twice: number
  /** Longest from the log to the listener. */
  readonly latestMs: number
}

/** One client that sends without pause, three at a time over one connection, and consumes it all over another one. */
export class Traffic {
  readonly #agent: Agent
  readonly #fields: { readonly nameserver: string; readonly group: string; readonly topic: string }
  readonly #sent: Sent[] = []
  readonly #sending: Promise<void>[] = []
  #consumer: Listening | undefined
  #going = true
  #count = 0
  #from = 0

  constructor(agent: Agent, nameserver: string, topic: string) {
    this.#agent = agent
    this.#fields = { nameserver, group: `${topic}-producers`, topic }
  }

  /** Resolves when messages flow. */
  async start(): Promise<void> {
    await this.#send()
    const group = `${this.#fields.topic}-consumers`
    this.#consumer = await this.#agent.consume({ ...this.#fields, group, from: 'first' })
    if (!(await this.#consumer.has(AT_ONCE, REBALANCED_MS))) throw new Error('nothing was heard')
    this.#sending.push(...Array.from({ length: SENDERS }, () => this.#keepSending()))
    await this.#consumer.has(AT_ONCE * 50, REBALANCED_MS)
    this.#from = Date.now()
  }

  async stop(): Promise<Counted> {
    this.#going = false
    await Promise.all(this.#sending)
    const heard = this.#consumer!.heard
    const distinct = () => new Set(heard.map(textOf))
    await until(() => distinct().size >= this.#count, REBALANCED_MS)
    await this.#consumer!.stop()
    const bodies = distinct()
    const since = heard.filter(({ storeTimestamp }) => storeTimestamp >= this.#from)
    return {
      sent: this.#count,
      failed: this.#sent.filter(({ status }) => status !== 'SEND_OK'),
      slowestMs: Math.max(...this.#sent.map(({ took = 0 }) => took)),
      lost: this.#count - bodies.size,
      twice: heard.length - bodies.size,
      latestMs: Math.max(...since.map(({ at, storeTimestamp }) => at - storeTimestamp)),
    }
  }

  async #keepSending(): Promise<void> {
    for (; this.#going; await pause(PAUSE_MS)) this.#sent.push(...(await this.#send()))
  }

  #send(): Promise<readonly Sent[]> {
    const messages = Array.from({ length: AT_ONCE }, () => ({ body: base64(`m${this.#count++}`) }))
    return this.#agent.produce({ ...this.#fields, messages })
  }
}

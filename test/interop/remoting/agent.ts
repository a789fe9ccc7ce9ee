import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createWriteStream, mkdirSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const here = import.meta.dirname
export const out = path.join(here, '../../../out/interop/remoting')

/** What the agent says; the shapes stand at the head of Agent.java. */
export interface Said {
  readonly id?: string
  readonly started?: boolean
  readonly stopped?: boolean
  readonly done?: boolean
  readonly bye?: boolean
  readonly error?: string
  readonly message?: Omit<Heard, 'at'> | string
  readonly results?: readonly unknown[]
}
export interface Sent {
  readonly msgId?: string
  readonly offsetMsgId?: string
  readonly status?: string
  readonly queueId?: number
  readonly queueOffset?: number
  readonly recallHandle?: string
  readonly error?: string
  readonly code?: number
  readonly message?: string
  /** Milliseconds, of one that was sent alone. */
  readonly took?: number
}
export interface Heard {
  /** When it came here, as a time of day in milliseconds. */
  readonly at: number
  readonly topic: string
  /** base64 */
  readonly body: string
  readonly tag?: string
  readonly keys?: string
  readonly properties: Readonly<Record<string, string>>
  readonly msgId: string
  readonly offsetMsgId: string
  readonly bornHost: string
  readonly reconsumeTimes: number
  readonly queueId: number
  readonly queueOffset: number
  readonly bornTimestamp: number
  readonly storeTimestamp: number
}

/** The fields that every operation on a topic has. */
export interface Operation {
  readonly nameserver: string
  readonly topic: string
  readonly [more: string]: unknown
}

/** Messages of one `consume`, as they come. */
export interface Listening {
  readonly id: string
  readonly heard: readonly Heard[]
  /** Resolves once so many have come; with false when `ms` pass before. */
  has(count: number, ms: number): Promise<boolean>
  stop(): Promise<void>
}

const run = promisify(execFile)

export const JAVA_RELEASE = '5.5.0'

const folderOf = (release: string): string => (release === JAVA_RELEASE ? out : `${out}-${release}`)

/** Compiles it; the first time Maven fetches the client. */
export const buildAgent = (release = JAVA_RELEASE): Promise<unknown> =>
  run('mvn', ['-q', '-B', 'process-classes', `-Drocketmq=${release}`, `-Dout=${path.basename(folderOf(release))}`], {
    cwd: here,
    timeout: 600_000,
  })

/** One JVM with the unmodified Java client. Ends with `close`. @param options for the JVM */
export const startAgent = async (options: readonly string[] = [], release = JAVA_RELEASE): Promise<Agent> => {
  await buildAgent(release)
  const folder = folderOf(release)
  return agentOf(folder, 'java', [
    '-Xmx256m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    ...options,
    `-Duser.home=${folder}`,
    `-Drocketmq.log.root=${path.join(folder, 'logs')}`,
    `-Drocketmq.client.logRoot=${path.join(folder, 'logs')}`,
    `-Drocketmq.client.localOffsetStoreDir=${path.join(folder, 'offsets')}`,
    '-cp',
    `${path.join(folder, 'classes')}${path.delimiter}${path.join(folder, 'lib', '*')}`,
    'Agent',
  ])
}

/** Any program that speaks as Agent.java does; its stderr goes to a file below `folder`. */
export const agentOf = (folder: string, program: string, args: readonly string[], cwd?: string): Agent =>
  new Agent(spawnAgent(folder, program, args, cwd))

export const spawnAgent = (folder: string, program: string, args: readonly string[], cwd?: string): ChildProcess => {
  const logs = path.join(folder, 'logs')
  mkdirSync(logs, { recursive: true })
  const env = { ...process.env, HOME: folder, NODE_OPTIONS: '' }
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env, ...(cwd !== undefined && { cwd }) })
  child.stderr.pipe(createWriteStream(path.join(logs, 'agent.err')))
  return child
}

export class Agent {
  readonly #jvm: ChildProcess
  readonly #listeners = new Map<string, (said: Said) => void>()
  #ids = 0
  #ended: Error | undefined

  constructor(jvm: ChildProcess) {
    this.#jvm = jvm
    createInterface({ input: jvm.stdout! }).on('line', (line) => {
      const said = JSON.parse(line) as Said
      if (said.id !== undefined) this.#listeners.get(said.id)?.(said)
    })
    jvm.on('exit', (code) => {
      this.#ended = new Error(`the agent ended with ${code}`)
      for (const listener of this.#listeners.values()) listener({ error: this.#ended.message })
    })
  }

  /** One operation and its first answer. @throws what the agent says went wrong */
  async ask(op: string, fields: object): Promise<Said> {
    const id = `${op}-${++this.#ids}`
    try {
      return await this.#first(id, op, fields)
    } finally {
      this.#listeners.delete(id)
    }
  }

  /** @param fields as `produce` at the head of Agent.java */
  async produce(fields: Operation): Promise<readonly Sent[]> {
    return ((await this.ask('produce', fields)).results ?? []) as readonly Sent[]
  }

  /** Another operation of Agent.java. */
  async results<T>(op: string, fields: object): Promise<readonly T[]> {
    return ((await this.ask(op, fields)).results ?? []) as readonly T[]
  }

  /** @param fields as `consume` at the head of Agent.java */
  async consume(fields: Operation): Promise<Listening> {
    const id = `consume-${++this.#ids}`
    const heard: Heard[] = []
    let look = (): void => undefined
    await this.#first(id, 'consume', fields, ({ message }) => {
      if (typeof message !== 'object') return
      heard.push({ ...message, at: Date.now() })
      look()
    })
    return {
      id,
      heard,
      has: (count, ms) =>
        new Promise((resolve) => {
          const timer = setTimeout(() => resolve(false), ms)
          look = () => {
            if (heard.length < count) return
            clearTimeout(timer)
            resolve(true)
          }
          look()
        }),
      stop: async () => {
        await this.ask('stop', { of: id })
        this.#listeners.delete(id)
      },
    }
  }

  /** Stops everything in the JVM and waits for its end. */
  async close(): Promise<void> {
    if (this.#ended) return
    const gone = new Promise((resolve) => this.#jvm.once('exit', resolve))
    this.#write({ op: 'exit', id: 'exit' })
    const timer = setTimeout(() => this.#jvm.kill('SIGKILL'), 20_000)
    await gone
    clearTimeout(timer)
  }

  #first(id: string, op: string, fields: object, more?: (said: Said) => void): Promise<Said> {
    if (this.#ended) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#listeners.set(id, (said) => {
        if (said.error !== undefined) reject(new Error(`${said.error}: ${String(said.message)}`))
        else if (said.started || said.results || said.stopped !== undefined) resolve(said)
        else more?.(said)
      })
      this.#write({ op, id, ...fields })
    })
  }

  #write(operation: object): void {
    this.#jvm.stdin!.write(`${JSON.stringify(operation)}\n`)
  }
}

/**
 * Unmodified MQTT clients, each behind a small program that does what lines of JSON on stdin say and tells on stdout what
 * came of it:
 *   {do: 'open', client, id, version, fresh}      → {event: 'open', client, present} for each connection it makes
 *   {do: 'subscribe', client, topic, qos}         → {event: 'subscribed', client}
 *   {do: 'publish', client, topic, qos, from, to} → {event: 'published', client}: bodies from…to-1, written in decimal
 *   {do: 'close', client}                         → {event: 'closed', client}
 *   and {event: 'message', client, topic, qos, body} for each message
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = import.meta.dirname
const out = path.join(here, '../../../out/interop/mqtt')
const PATIENCE_MS = 60_000

export interface Told {
  readonly event: 'open' | 'subscribed' | 'published' | 'closed' | 'message'
  readonly client: string
  readonly present?: boolean
  readonly topic?: string
  readonly qos?: number
  readonly body?: string
}

export interface Client {
  readonly name: string
  readonly version: 4 | 5
  readonly webSocket?: true
  /** @throws when this machine cannot */
  prepare(): Promise<unknown>
  /** Before the port, and after it. */
  readonly command: readonly string[]
  readonly last?: readonly string[]
}

const once = (make: () => Promise<unknown>) => {
  let made: Promise<unknown> | undefined
  return () => (made ??= make())
}

const node = [process.execPath, path.join(here, 'node.ts')]
const python = path.join(out, 'python')
const preparePython = once(async () => {
  if (existsSync(path.join(python, 'ready'))) return
  await run('python3', ['-m', 'venv', python])
  await run(path.join(python, 'bin/pip'), ['install', '-q', 'paho-mqtt==2.1.0'], { timeout: 300_000 })
  mkdirSync(path.join(python, 'ready'))
})
const javaOut = path.join(out, 'java')
const prepareJava = once(() =>
  run('mvn', ['-q', '-B', 'process-classes'], { cwd: path.join(here, 'java'), timeout: 600_000 }),
)
const goAgent = path.join(out, 'go-agent')
const prepareGo = once(() => run('go', ['build', '-o', goAgent, '.'], { cwd: path.join(here, 'go'), timeout: 600_000 }))
const nothing = async () => undefined

const mqttJs = (version: 4 | 5): Client => ({
  name: `MQTT.js 5, MQTT ${version === 4 ? '3.1.1' : '5'}`,
  version,
  prepare: nothing,
  command: node,
})
const paho = (version: 4 | 5): Client => ({
  name: `Paho Python 2.1, MQTT ${version === 4 ? '3.1.1' : '5'}`,
  version,
  prepare: preparePython,
  command: [path.join(python, 'bin/python'), path.join(here, 'python.py')],
})
const hiveMq: Client = {
  name: 'HiveMQ client 1.3.7, MQTT 5',
  version: 5,
  prepare: prepareJava,
  command: [
    'java',
    '-Xmx128m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-cp',
    `${path.join(javaOut, 'classes')}${path.delimiter}${path.join(javaOut, 'lib', '*')}`,
    'Agent',
  ],
}
const autopaho: Client = { name: 'autopaho 0.23.0, MQTT 5', version: 5, prepare: prepareGo, command: [goAgent] }

/** Each with its own sessions and its own store of QoS 2. */
export const exactlyOnce: readonly Client[] = [mqttJs(5), paho(5), hiveMq, autopaho]
export const clients: readonly Client[] = [
  mqttJs(4),
  { ...mqttJs(5), name: 'MQTT.js 5, MQTT 5, WebSocket', webSocket: true, last: ['websocket'] },
  paho(4),
  ...exactlyOnce,
]

/** One such program that runs. */
export class Agent {
  readonly #child: ChildProcess
  readonly #told: Told[] = []
  #look: () => void = () => undefined
  #errors = ''
  #ended = false

  constructor({ command, last = [] }: Client, port: number) {
    const [program, ...before] = command
    this.#child = spawn(program!, [...before, String(port), ...last], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    this.#child.on('error', () => undefined)
    this.#child.stdin!.on('error', () => undefined)
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-2_000)
    })
    this.#child.on('close', () => {
      this.#ended = true
      this.#look()
    })
    createInterface(this.#child.stdout!).on('line', (line) => {
      if (!line.startsWith('{')) return
      this.#told.push(JSON.parse(line) as Told)
      this.#look()
    })
  }

  tell(command: object): void {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`)
  }

  /** Bodies that a client of it was given so far. */
  bodies(client: string): readonly string[] {
    return this.#told.filter((one) => one.event === 'message' && one.client === client).map(({ body }) => body!)
  }

  messages(client: string): readonly Told[] {
    return this.#told.filter((one) => one.event === 'message' && one.client === client)
  }

  /** Resolves with the first such event that has not been waited for; it is taken. */
  async next(event: Exclude<Told['event'], 'message'>, client: string): Promise<Told> {
    let found = -1
    await this.until(`${event} of ${client}`, () => {
      found = this.#told.findIndex((one) => one.event === event && one.client === client)
      return found >= 0
    })
    return this.#told.splice(found, 1)[0]!
  }

  /** @throws when it does not come to it within a minute, or the program ends */
  until(what: string, so: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${why} while waiting for ${what}: ${this.#errors}`))
      const timer = setTimeout(() => fail('a minute went by'), PATIENCE_MS)
      const before = this.#look
      const done = (end: () => void) => {
        clearTimeout(timer)
        this.#look = before
        end()
      }
      this.#look = () => {
        before()
        if (so()) done(resolve)
        else if (this.#ended) done(() => fail('it ended'))
      }
      this.#look()
    })
  }

  async end(): Promise<void> {
    if (this.#ended) return
    const closed = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3_000)
    await closed
    clearTimeout(timer)
  }
}

/** mosquitto_pub and mosquitto_sub. @throws when they are not here and cannot be had */
export const prepareMosquitto = once(async () => {
  try {
    await run('mosquitto_sub', ['--help']).catch((error: { code?: unknown }) => {
      if (error.code === 'ENOENT') throw error // its help ends with 1
    })
  } catch {
    const quiet = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: 300_000 }
    await run('apt-get', ['update', '-qq'], quiet)
    await run('apt-get', ['install', '-y', '-qq', 'mosquitto-clients'], quiet)
  }
})

export const mosquitto = async (program: 'pub' | 'sub', port: number, ...args: string[]): Promise<string> => {
  const { stdout } = await run(`mosquitto_${program}`, ['-h', '127.0.0.1', '-p', String(port), ...args], {
    timeout: PATIENCE_MS,
  })
  return stdout
}

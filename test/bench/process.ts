import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Kernel ticks a second in /proc; Linux has shown 100 to programs on every architecture for decades. */
const TICKS = 100

interface Stat {
  readonly pid: number
  readonly parent: number
  readonly cpuMs: number
}

const statOf = (pid: number): Stat | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name stands in parentheses and may hold anything; fields are counted after it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ticks = Number(fields[11]) + Number(fields[12])
    return { pid, parent: Number(fields[1]), cpuMs: (ticks * 1_000) / TICKS }
  } catch {
    return undefined
  }
}

/** The process and everything it has started. */
export const familyOf = (pid: number): readonly number[] => {
  const all = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : []))
  const family = new Set([pid])
  for (let grown = true; grown; ) {
    grown = false
    for (const { pid: child, parent } of all) {
      if (!family.has(parent) || family.has(child)) continue
      family.add(child)
      grown = true
    }
  }
  return [...family]
}

/** CPU time of a process and its children so far, user and system, ms. */
export const cpuMs = (pid: number): number =>
  familyOf(pid).reduce((sum, member) => sum + (statOf(member)?.cpuMs ?? 0), 0)

/** Resident memory of a process and its children, MB. */
export const rssMB = (pid: number): number => {
  let kB = 0
  for (const member of familyOf(pid)) {
    try {
      kB += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${member}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      // It has ended meanwhile.
    }
  }
  return kB / 1024
}

export interface SpawnOptions {
  readonly command: string
  readonly args: readonly string[]
  /** Core that it and its children stay on. */
  readonly core?: number | undefined
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

/** A child process, the lines it printed, and its end. */
export class Child {
  readonly pid: number
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
  /** The last 200 lines of both outputs. */
  readonly lines: string[] = []
  readonly #process: ChildProcess
  readonly #waiting = new Set<{ readonly wants: (line: string) => boolean; readonly done: (line: string) => void }>()

  constructor({ command, args, core, env, cwd }: SpawnOptions) {
    const [program, ...rest] =
      core === undefined ? [command, ...args] : ['taskset', '-c', String(core), command, ...args]
    this.#process = spawn(program!, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // a group of its own, so that `stop` reaches its children
      env: env ?? { ...process.env, NODE_OPTIONS: '' },
      ...(cwd !== undefined && { cwd }),
    })
    this.pid = this.#process.pid ?? -1
    children.add(this)
    this.ended = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(error.message))
      this.#process.on('close', (code, signal) => resolve(signal ?? code ?? -1))
    })
    void this.ended.then(() => children.delete(this))
    this.#read(this.#process.stdout!)
    this.#read(this.#process.stderr!)
  }

  #read(stream: NodeJS.ReadableStream): void {
    let held = ''
    stream.on('data', (chunk: Buffer) => {
      const texts = (held + chunk.toString()).split('\n')
      held = texts.pop() as string
      for (const text of texts) this.#line(text)
    })
  }

  #line(text: string): void {
    this.lines.push(text)
    if (this.lines.length > 200) this.lines.shift()
    for (const one of this.#waiting) if (one.wants(text)) one.done(text)
  }

  /** The first line, also of those that came already, that is wanted. @throws when it ends or time is up before */
  async line(wants: (line: string) => boolean, withinMs = 60_000): Promise<string> {
    const there = this.lines.find(wants)
    if (there !== undefined) return there
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const entry = { wants, done: resolve }
    this.#waiting.add(entry)
    const timer = setTimeout(() => reject(new Error(`nothing within ${withinMs} ms: ${this.#tail()}`)), withinMs)
    void this.ended.then((how) => reject(new Error(`ended with ${how}: ${this.#tail()}`)))
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(entry)
    }
  }

  #tail(): string {
    return this.lines.slice(-10).join('\n')
  }

  kill(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal)
    } catch {
      // It has ended already.
    }
  }

  /** SIGTERM, and SIGKILL when that does not help within `withinMs`. */
  async stop(withinMs = 5_000): Promise<number | string> {
    this.kill('SIGTERM')
    const timer = setTimeout(() => this.kill('SIGKILL'), withinMs)
    return this.ended.finally(() => clearTimeout(timer))
  }
}

const children = new Set<Child>()

/** Nothing that was started outlives this process. */
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

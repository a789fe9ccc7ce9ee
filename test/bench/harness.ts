import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Machine, machine } from './machine.ts'
import { Child, cpuMs, rssMB, type SpawnOptions } from './process.ts'
import { ratio, type Summary, summary } from './statistics.ts'

/** Figures of one run by the name of the metric. The unit stands in the name: `p99Ms`, `rssMB`, `perSecond`. */
export type Sample = Readonly<Record<string, number>>

/** One side of a comparison. */
export interface Contender {
  readonly name: string
  /** Called once before all rounds: starts what stays up over them. A string says why it cannot run here. */
  start(stage: Stage): Promise<Running | string>
}

export interface Running {
  /** One run; called once a round, in turn with the others. */
  run(round: number): Promise<Sample>
  stop?(): Promise<unknown>
}

export interface Target {
  readonly metric: string
  /** The contender it is about. */
  readonly of: string
  /** A ratio to this contender's figure; absent: the figure itself. */
  readonly against?: string
  readonly atMost?: number
  readonly atLeast?: number
}

export interface Bench {
  /** What is measured and how, in a sentence or three: printed with every result. */
  readonly method: string
  /** Rounds unless `--rounds` says otherwise: quick, and with `--full`. */
  readonly rounds: { readonly quick: number; readonly full: number }
  contenders(options: { readonly full: boolean }): readonly Contender[]
  readonly targets: readonly Target[]
  /** Contenders that the first one is set in ratio to; absent: all others. */
  readonly peers?: readonly string[]
  /** Contenders that are set in ratio, ours first; in place of `peers`. */
  readonly pairs?: readonly (readonly [ours: string, peer: string])[]
  /** What the figures mean, in lines of its own. */
  explain?(samples: Readonly<Record<string, readonly Sample[]>>): readonly string[]
}

export interface ServerOptions extends Omit<SpawnOptions, 'core'> {
  /** Which line of its output says that it is ready. */
  ready(line: string): boolean
  readonly readyWithinMs?: number
}

export interface Server {
  readonly pid: number
  /** Further processes whose CPU time and memory count as its own. */
  readonly alsoPids?: readonly number[]
  readonly readyLine: string
  stop(): Promise<unknown>
}

/** What a bench builds its contenders with. */
export interface Stage {
  readonly full: boolean
  readonly machine: Machine
  /** A folder that goes when the bench ends, on the repository's disk: the system's own may be in memory. */
  folder(): string
  /** A server on the server's core, ready. */
  server(options: ServerOptions): Promise<Server>
  /**
   * A TypeScript file as a process on the load's core; its last line is the sample as JSON. With `server`, that one's
   * share is added: `serverCpuMs`, `serverRssMB` after the run, and `cpuPer1000Ms` where the load gives `messages`.
   * A load that warms up says {@link MEASURING} when it begins to count.
   */
  load(file: URL, options: object, server?: Server): Promise<Sample>
}

const node = (file: URL, args: readonly string[]): Pick<SpawnOptions, 'command' | 'args'> => ({
  command: process.execPath,
  args: ['--conditions=@sluice/source', '--expose-gc', fileURLToPath(file), ...args],
})

/** What a load prints when its warm-up is over: the server's CPU time counts from there. */
export const MEASURING = 'measuring'

const LOAD_WITHIN_MS = 300_000

const sumOf = ({ pid, alsoPids = [] }: Server, of: (pid: number) => number): number =>
  [pid, ...alsoPids].reduce((sum, one) => sum + of(one), 0)
const spent = (server: Server): number => sumOf(server, cpuMs)

const scratch = fileURLToPath(new URL('../../out/bench/', import.meta.url))

export class BenchStage implements Stage {
  readonly full: boolean
  readonly machine: Machine
  readonly #folders: string[] = []
  readonly #children = new Set<Child>()

  constructor(full: boolean, on: Machine = machine()) {
    this.full = full
    this.machine = on
  }

  folder(): string {
    mkdirSync(scratch, { recursive: true })
    const folder = mkdtempSync(join(scratch, 'run-'))
    this.#folders.push(folder)
    return folder
  }

  async server({ ready, readyWithinMs, ...options }: ServerOptions): Promise<Server> {
    const child = new Child({ ...options, core: this.machine.pin?.server })
    this.#children.add(child)
    const readyLine = await child.line(ready, readyWithinMs)
    return { pid: child.pid, readyLine, stop: () => child.stop() }
  }

  async load(file: URL, options: object, server?: Server): Promise<Sample> {
    let before = server && spent(server)
    const child = new Child({ ...node(file, [JSON.stringify(options)]), core: this.machine.pin?.load })
    this.#children.add(child)
    void child
      .line((line) => line === MEASURING, LOAD_WITHIN_MS)
      .then(
        () => {
          before = server && spent(server)
        },
        () => undefined,
      )
    const timer = setTimeout(() => child.kill('SIGKILL'), LOAD_WITHIN_MS)
    const how = await child.ended
    clearTimeout(timer)
    this.#children.delete(child)
    if (how !== 0) throw new Error(`load ended with ${how}: ${child.lines.slice(-20).join('\n')}`)
    const sample = JSON.parse(child.lines.at(-1) ?? '') as Sample
    if (!server || before === undefined) return sample
    const serverCpuMs = spent(server) - before
    return {
      ...sample,
      serverCpuMs,
      serverRssMB: sumOf(server, rssMB),
      ...(sample.messages && { cpuPer1000Ms: (serverCpuMs * 1_000) / sample.messages }),
    }
  }

  /** What runs now: servers, between loads. */
  get children(): readonly Child[] {
    return [...this.#children]
  }

  async end(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()))
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true })
  }
}

export interface Verdict extends Target {
  readonly value: number
  readonly met: boolean
}

export interface Result {
  /** Rounds in the order in which they ran: contender after contender, round after round. */
  readonly order: readonly string[]
  readonly samples: Readonly<Record<string, readonly Sample[]>>
  readonly unavailable: Readonly<Record<string, string>>
  readonly verdicts: readonly Verdict[]
}

/**
 * Runs A B A B …: what disturbs the machine for a while disturbs both. Whose turn it is not stands still (SIGSTOP): what a
 * server does when nobody asks would be charged to the one that is measured on the same core.
 */
export const alternate = async (bench: Bench, stage: BenchStage, rounds: number): Promise<Result> => {
  const running = new Map<string, Running & { readonly servers: readonly Child[] }>()
  /** Absent, or one that started no server and so asks another's: everybody wakes. */
  const wake = (turn?: readonly Child[]): void => {
    for (const { servers } of running.values()) {
      for (const server of servers) server.kill(!turn?.length || turn.includes(server) ? 'SIGCONT' : 'SIGSTOP')
    }
  }
  const samples: Record<string, Sample[]> = {}
  const unavailable: Record<string, string> = {}
  const order: string[] = []
  try {
    for (const contender of bench.contenders({ full: stage.full })) {
      const before = new Set(stage.children)
      const started = await contender.start(stage)
      const servers = stage.children.filter((child) => !before.has(child))
      if (typeof started === 'string') unavailable[contender.name] = started
      else running.set(contender.name, { ...started, servers })
    }
    for (let round = 0; round < rounds; round++) {
      for (const [name, { run, servers }] of running) {
        wake(servers)
        const all = (samples[name] ??= [])
        all.push(await run(round))
        order.push(name)
      }
    }
  } finally {
    wake()
    for (const { stop } of running.values()) await stop?.()
  }
  return { order, samples, unavailable, verdicts: judge(bench.targets, samples) }
}

/** Targets whose contenders ran. */
export const judge = (
  targets: readonly Target[],
  samples: Readonly<Record<string, readonly Sample[]>>,
): readonly Verdict[] =>
  targets.flatMap((target) => {
    const ours = figures(samples[target.of], target.metric)
    const peers = target.against === undefined ? undefined : figures(samples[target.against], target.metric)
    if (ours.length === 0 || peers?.length === 0) return []
    const value = peers ? ratio(ours, peers).median : summary(ours).median
    const met = value <= (target.atMost ?? Number.POSITIVE_INFINITY) && value >= (target.atLeast ?? 0)
    return [{ ...target, value, met }]
  })

/** One metric over the rounds. */
export const figures = (samples: readonly Sample[] | undefined, metric: string): readonly number[] =>
  (samples ?? []).flatMap((sample) => sample[metric] ?? [])

export const metricsOf = (samples: readonly Sample[]): readonly string[] => [
  ...new Set(samples.flatMap((sample) => Object.keys(sample))),
]

export const summaries = (samples: readonly Sample[]): Readonly<Record<string, Summary>> =>
  Object.fromEntries(metricsOf(samples).map((metric) => [metric, summary(figures(samples, metric))]))

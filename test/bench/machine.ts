import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGB: number
  readonly kernel: string
  readonly node: string
  /** Cores of the server and of the load; undefined: not pinned, with the reason in `unpinned`. */
  readonly pin: { readonly server: number; readonly load: number } | undefined
  readonly unpinned?: string
}

/** Cores that this process may use: `0-1,4` → 0, 1, 4. */
export const coresOf = (list: string): readonly number[] =>
  list
    .trim()
    .split(',')
    .flatMap((range) => {
      const [from, to] = range.split('-').map(Number) as [number, number | undefined]
      return Array.from({ length: (to ?? from) - from + 1 }, (_, index) => from + index)
    })

const output = (command: string, ...args: string[]): string | undefined => {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
  } catch {
    return undefined
  }
}

const pinning = (): Pick<Machine, 'pin' | 'unpinned'> => {
  if (output('taskset', '--version') === undefined) return { pin: undefined, unpinned: 'taskset is missing' }
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  const cores = coresOf(allowed)
  if (cores.length < 2) return { pin: undefined, unpinned: 'one core only: server and load share it' }
  return { pin: { server: cores[0]!, load: cores[1]! } }
}

export const machine = (): Machine => ({
  cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
  cores: os.availableParallelism(),
  memoryGB: Math.round(os.totalmem() / 2 ** 30),
  kernel: os.release(),
  node: process.version,
  ...pinning(),
})

/** Of the repository; `-changed` when the work tree differs from it. */
export const commit = (): string => {
  const id = output('git', 'rev-parse', '--short=12', 'HEAD') ?? 'unknown'
  return output('git', 'status', '--porcelain', '--untracked-files=no') ? `${id}-changed` : id
}

/** Load average of one and five minutes. */
export const load = (): readonly [number, number] => {
  const [one, five] = os.loadavg() as [number, number, number]
  return [Math.round(one * 100) / 100, Math.round(five * 100) / 100]
}

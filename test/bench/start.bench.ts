import { setTimeout as after } from 'node:timers/promises'
import type { Bench, Contender, Stage } from './harness.ts'
import { Child, rssMB } from './process.ts'

const root = new URL('../../', import.meta.url).pathname
const main = `${root}packages/cli/src/main.ts`

const settings = (data: string) => [
  'start',
  '--quiet',
  ...['listeners=[{port: 0}]', 'admin.port=0', 'log.format=json', `data=${data}`].flatMap((one) => ['--set', one]),
]

interface Ready {
  readonly event: string
  readonly pid: number
  readonly admin: { readonly port: number }
}

const readyOf = (line: string): Ready | undefined => {
  try {
    const parsed = JSON.parse(line) as Ready
    return parsed.event === 'ready' ? parsed : undefined
  } catch {
    return undefined
  }
}

const started = async (child: Child, began: number, restMs: number) => {
  const line = await child.line((text) => readyOf(text) !== undefined)
  const readyMs = performance.now() - began
  const { pid, admin } = readyOf(line)!
  const { status } = await fetch(`http://127.0.0.1:${admin.port}/readyz`)
  if (status !== 200) throw new Error(`readyz answers ${status} after the line 'ready'`)
  const readyzMs = performance.now() - began
  await after(restMs)
  return { readyMs, readyzMs, rssMB: rssMB(pid) }
}

/** Each run starts a process on the data of the one before, so all but the first are warm; the first is not counted. */
const starting = (name: string, command: string, args: (data: string) => readonly string[]): Contender => ({
  name,
  async start(stage: Stage) {
    const data = stage.folder()
    const once = async (restMs: number) => {
      const began = performance.now()
      const child = new Child({ command, args: args(data), core: stage.machine.pin?.server, cwd: root })
      try {
        return await started(child, began, restMs)
      } finally {
        child.kill('SIGINT')
        await child.stop(10_000)
      }
    }
    await once(0)
    return { run: () => once(stage.full ? 10_000 : 2_000) }
  },
})

const bench: Bench = {
  method:
    'Time from spawning `npx sluice start` (embedded broker, all protocols, existing data) to its line `ready` and to 200 of GET /readyz; resident memory without clients 10 s later (2 s without --full). One warm-up. Beside it the same without npx.',
  rounds: { quick: 3, full: 5 },
  contenders: () => [
    starting('npx sluice', 'npx', (data) => ['--no-install', 'sluice', ...settings(data)]),
    starting('node', process.execPath, (data) => ['--conditions=@sluice/source', main, ...settings(data)]),
  ],
  targets: [
    { metric: 'readyzMs', of: 'npx sluice', atMost: 2_000 },
    { metric: 'rssMB', of: 'npx sluice', atMost: 150 },
  ],
}

export default bench

import type { Server, Stage } from './harness.ts'

const root = new URL('../../', import.meta.url).pathname
const main = `${root}packages/cli/src/main.ts`

export interface Ours extends Server {
  readonly port: number
  /** Where its profile goes, when the bench was asked for one. */
  readonly profile: string | undefined
}

interface Ready {
  readonly event?: string
  readonly listeners?: readonly { readonly port: number }[]
}

const readyOf = (line: string): Ready | undefined => {
  try {
    const parsed = JSON.parse(line) as Ready
    return parsed.event === 'ready' ? parsed : undefined
  } catch {
    return undefined
  }
}

export interface OursOptions {
  readonly flush: 'sync' | 'async'
  readonly data: string
  /** Further settings, `key.path=value`. */
  readonly set?: readonly string[]
  /** A module that is loaded before ours. */
  readonly preload?: string
}

const started = (
  stage: Stage,
  args: readonly string[],
  settings: readonly string[],
  preload?: string,
): Promise<Server> => {
  const profile = process.env.BENCH_PROFILE
  return stage.server({
    command: process.execPath,
    args: [
      '--conditions=@sluice/source',
      ...(profile ? ['--cpu-prof', `--cpu-prof-dir=${profile}`, '--cpu-prof-interval=500'] : []),
      ...(preload ? ['--import', preload] : []),
      main,
      ...args,
      ...settings.flatMap((one) => ['--set', one]),
    ],
    cwd: root,
    ready: (line) => readyOf(line) !== undefined,
  })
}

/** `sluice broker` on a Unix socket in its data directory. */
export const oursBroker = async (
  stage: Stage,
  { flush, data, set = [] }: OursOptions,
): Promise<{ readonly broker: Server; readonly address: string }> => {
  const address = `unix:${data}/broker.sock`
  const args = ['broker', '--listen', address, '--data', data, '--admin-port', '0']
  const broker = await started(stage, args, ['log.format=json', `backend.embedded.flush=${flush}`, ...set])
  return { broker, address }
}

/** `sluice start` with the embedded broker and all protocols on one port. `BENCH_PROFILE=FOLDER` leaves a CPU profile there. */
export const ours = async (stage: Stage, { flush, data, set = [], preload }: OursOptions): Promise<Ours> => {
  const profile = process.env.BENCH_PROFILE
  const settings = [
    'listeners=[{port: 0}]',
    'admin.port=0',
    'log.format=json',
    `data=${data}`,
    `backend.embedded.flush=${flush}`,
    'drain.leavingMs=0',
    'drain.announceMs=0',
    'drain.settleMs=1000',
    ...set,
  ]
  const server = await started(stage, ['start', '--quiet'], settings, preload)
  const port = readyOf(server.readyLine)?.listeners?.[0]?.port
  if (port === undefined) throw new Error(`no port in ${server.readyLine}`)
  return { ...server, port, profile }
}

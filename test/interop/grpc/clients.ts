import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Profile } from '../../run/suites.ts'
import type { BehaviourName } from './behaviours.ts'

const run = promisify(execFile)
const here = path.join(import.meta.dirname, 'agents')
export const out = path.join(import.meta.dirname, '../../../out/interop/grpc')
/** Where clients that insist on a home write their logs. */
export const home = path.join(out, 'home')
const BUILD_MS = 900_000
const PYTHON_CLIENT = 'rocketmq-python-client==5.1.2'

export interface ClientAgent {
  /** Column of the table. */
  readonly name: string
  /** Makes ready what the command needs. @throws when this machine cannot */
  prepare(profile: Profile): Promise<unknown>
  /** Program and arguments before <host:port> <prefix> <behaviours>. */
  readonly behaviours: readonly string[]
  /** The same before <host:port> <topic> <sends at once>. */
  readonly restart: readonly string[]
  /** What the client does otherwise by its own doing, and why. */
  readonly own?: Partial<Readonly<Record<BehaviourName, { readonly result: readonly string[]; readonly why: string }>>>
}

export const python = path.join(out, 'py')
const java = path.join(out, 'java')

/** Once, whoever asks. */
const once = (make: () => Promise<unknown>): (() => Promise<unknown>) => {
  let made: Promise<unknown> | undefined
  return () => (made ??= make())
}

export const prepareJava = once(() =>
  run('mvn', ['-q', '-B', 'process-classes'], { cwd: path.join(here, 'java'), timeout: BUILD_MS }),
)

export const preparePython = once(async () => {
  if (existsSync(path.join(python, 'ready'))) return
  await run('python3', ['-m', 'venv', python])
  await run(path.join(python, 'bin/pip'), ['install', '-q', PYTHON_CLIENT], { timeout: BUILD_MS })
  mkdirSync(path.join(python, 'ready'))
})

export const javaCommand = (lib: string, program: string): readonly string[] => [
  'java',
  '-Xmx256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  `-Duser.home=${home}`,
  `-Drocketmq.log.root=${path.join(home, 'logs')}`,
  '-cp',
  `${path.join(java, 'classes')}${path.delimiter}${path.join(java, lib, '*')}`,
  program,
]

const rust = path.join(out, 'rust')
const rustAgent = path.join(rust, 'target/debug/agent')

/** Two minutes of two cores: what is built already serves, in `ci` nothing else does. */
const prepareRust = async (profile: Profile): Promise<void> => {
  if (existsSync(rustAgent) && profile === 'ci') return
  if (profile === 'ci') throw new Error('takes minutes to build; `--full` does, and what it built is used from then on')
  // Beside the sources cargo would leave a lock file.
  cpSync(path.join(here, 'rust'), rust, { recursive: true })
  await run('cargo', ['build', '-q'], { cwd: rust, timeout: BUILD_MS })
}

const goAgent = path.join(out, 'go-agent')

export const clients: readonly ClientAgent[] = [
  {
    name: 'Java 5.2.0',
    prepare: prepareJava,
    behaviours: javaCommand('lib', 'Behaviours'),
    restart: javaCommand('lib', 'Restart'),
  },
  {
    name: 'Java 5.0.8',
    prepare: prepareJava,
    behaviours: javaCommand('lib-5.0.8', 'Behaviours'),
    restart: javaCommand('lib-5.0.8', 'Restart'),
  },
  {
    name: 'Node.js 1.0.8',
    prepare: async () => undefined,
    behaviours: [process.execPath, path.join(here, 'node.ts')],
    restart: [process.execPath, path.join(here, 'restart.ts')],
  },
  {
    name: 'Python 5.1.2',
    prepare: preparePython,
    behaviours: [path.join(python, 'bin/python'), path.join(here, 'python.py')],
    restart: [path.join(python, 'bin/python'), path.join(here, 'restart.py')],
  },
  {
    name: 'Go 5.1.3',
    prepare: () => run('go', ['build', '-o', goAgent, '.'], { cwd: path.join(here, 'go'), timeout: BUILD_MS }),
    behaviours: [goAgent],
    restart: [goAgent, 'restart'],
    own: {
      pushFifo: {
        result: ['0', '1', '2', '3', '4', '5', '2'],
        why: 'goes on with the batch while it repeats a message',
      },
    },
  },
  {
    name: 'Rust 5.0.0',
    prepare: prepareRust,
    behaviours: [rustAgent],
    restart: [rustAgent, 'restart'],
  },
]

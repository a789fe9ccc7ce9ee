import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Wire } from '@sluice/testkit'
import { build, workspaces } from '../../pack/build.ts'

const root = new URL('../../..', import.meta.url).pathname
const exec = promisify(execFile)
/** The Node that runs this, for the scripts of the packed packages. */
const env = { ...process.env, NODE_OPTIONS: '', PATH: `${dirname(process.execPath)}:${process.env.PATH}` }
const STARTS_WITHIN_MS = 30_000

/** A folder outside of the repository in which the packed packages are installed as anybody would. */
export class Installed {
  readonly folder: string
  private constructor(folder: string) {
    this.folder = folder
  }

  static async make(plugins: readonly string[]): Promise<Installed> {
    const folders = [...(await workspaces()), ...plugins.map((name) => join(root, 'test/plugin', name))]
    const packed = await build({ folders, out: join(root, 'out/plugin') })
    const folder = await mkdtemp(join(tmpdir(), 'sluice-plugin-'))
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'host', private: true, type: 'module' }))
    const installed = new Installed(folder)
    await installed.run('npm', [
      'install',
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      ...packed.map(({ tarball }) => tarball),
    ])
    return installed
  }

  /** Standard output. @throws with everything that was printed */
  async run(command: string, args: readonly string[]): Promise<string> {
    try {
      const { stdout } = await exec(command, args, { cwd: this.folder, env, maxBuffer: 16 * 1024 * 1024 })
      return stdout
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      throw new Error(`${command} ${args[0]} failed\n${stdout}${stderr}`)
    }
  }

  async write(file: string, text: string): Promise<void> {
    await writeFile(join(this.folder, file), text)
  }

  /** The installed command. Resolves when it is ready. */
  async start(config: string): Promise<PackedGateway> {
    await this.write('sluice.yaml', config)
    const args = ['start', '-c', 'sluice.yaml', '--quiet']
    const child = spawn(join(this.folder, 'node_modules/.bin/sluice'), args, {
      cwd: this.folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const gateway = new PackedGateway(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), STARTS_WITHIN_MS)
    const ready = await Promise.race([gateway.line('ready'), gateway.exited])
    clearTimeout(timer)
    if (typeof ready !== 'object') throw new Error(`sluice start ended with ${ready}: ${gateway.printed}`)
    gateway.port = (ready as unknown as { listeners: { port: number }[] }).listeners[0]!.port
    return gateway
  }

  /** The package as its author has it while at work: elsewhere, with a link to it. */
  async link(name: string): Promise<void> {
    const at = join(this.folder, 'node_modules', name)
    const source = join(this.folder, `${name}-source`)
    await rename(at, source)
    await symlink(source, at)
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

type Line = Readonly<Record<string, unknown>>

/** A running `sluice start` and what it logs. */
export class PackedGateway {
  port = 0
  printed = ''
  readonly lines: Line[] = []
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()

  constructor(child: ChildProcess) {
    this.#child = child
    this.exited = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code ?? -1)))
    let held = ''
    child.stderr!.on('data', (chunk: Buffer) => (this.printed += chunk.toString()))
    child.stdout!.on('data', (chunk: Buffer) => {
      this.printed += chunk.toString()
      const texts = (held + chunk.toString()).split('\n')
      held = texts.pop()!
      for (const text of texts) if (text.startsWith('{')) this.lines.push(JSON.parse(text) as Line)
      for (const look of this.#waiting) look()
    })
  }

  /** The first line with this event and these fields, now or later. */
  line(event: string, fields: Line = {}): Promise<Line> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.lines.find(
          (line) => line.event === event && Object.entries(fields).every(([key, value]) => line[key] === value),
        )
        if (!found) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  async connect(): Promise<Wire> {
    const socket = net.connect({ host: '127.0.0.1', port: this.port, noDelay: true })
    const wire = new Wire(socket)
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return wire
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}

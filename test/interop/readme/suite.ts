import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { shellBlocks } from '../../readme/blocks.ts'
import { Checks, type Suite } from '../../run/suites.ts'

const repository = new URL('../../..', import.meta.url).pathname

/** Every block of the README but `npm test`, which runs beside this suite, on a clean clone with its default ports. */
const suite: Suite = async () => {
  const checks = new Checks()
  ensure('mosquitto_sub', 'mosquitto-clients')
  const clone = mkdtempSync(join(tmpdir(), 'sluice-readme-'))
  execFileSync('git', ['clone', '-q', '--depth', '1', `file://${repository}`, clone])
  const blocks = shellBlocks('README.md')
  let gateway: ChildProcess | undefined
  let pid = 0
  try {
    await checks.check(`README: ${blocks[0]!.script.trim()}`, async () => {
      const npm = spawn('bash', ['-c', blocks[0]!.script], {
        cwd: clone,
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      gateway = npm
      pid = (JSON.parse(await line(npm, '"event":"ready"')) as { pid: number }).pid
    })
    for (const { script } of blocks.slice(2)) {
      await checks.check(`README: ${script.trim().split('\n').length} lines from "${script.split('\n')[0]}"`, () =>
        execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
          cwd: clone,
          timeout: 60_000,
          stdio: ['ignore', 'pipe', 'inherit'],
        }),
      )
    }
    await checks.check('README: SIGTERM ends it with a verdict and code 0', async () => {
      const drained = line(gateway!, '"event":"drained"')
      process.kill(pid, 'SIGTERM')
      await drained
    })
  } finally {
    if (gateway?.pid !== undefined && gateway.exitCode === null) {
      try {
        process.kill(-gateway.pid, 'SIGKILL')
      } catch {
        // it has ended
      }
    }
    rmSync(clone, { recursive: true, force: true })
  }
  return checks.counts
}

export default suite

const line = (child: ChildProcess, wanted: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error(`no ${wanted} in 180 s; last: ${text.slice(-500)}`)), 180_000)
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const found = text.split('\n').find((one) => one.includes(wanted))
      if (!found) return
      clearTimeout(timer)
      resolve(found)
    })
    child.on('exit', (code) => {
      clearTimeout(timer)
      reject(new Error(`ended with ${code}: ${text.slice(-500)}`))
    })
  })

/** Installs a Debian package where its command is missing. */
const ensure = (command: string, packageName: string): void => {
  try {
    execFileSync('which', [command], { stdio: 'ignore' })
  } catch {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore' })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', packageName], { stdio: 'ignore' })
  }
}

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Server, Stage } from './harness.ts'

const VERSION = '1.2.0'
const folder = fileURLToPath(new URL('../../out/bench/aedes', import.meta.url))
const server = fileURLToPath(new URL('./mqtt/aedes.ts', import.meta.url))

/** In memory, on the Node that runs the bench; installed once, beside everything else. A string says why it cannot run here. */
export const startAedes = async (stage: Stage): Promise<(Server & { readonly port: number }) | string> => {
  if (!existsSync(`${folder}/node_modules/aedes/package.json`)) {
    mkdirSync(folder, { recursive: true })
    const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', `aedes@${VERSION}`]
    const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8', timeout: 120_000 })
    if (status !== 0) return `aedes ${VERSION} could not be installed: ${String(stderr).trim().split('\n').at(-1)}`
  }
  const started = await stage.server({
    command: process.execPath,
    args: [server, folder],
    ready: (line) => line.startsWith('ready'),
  })
  return { ...started, port: Number(started.readyLine.split(' ')[1]) }
}

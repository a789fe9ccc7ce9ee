import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import type { Server, Stage } from './harness.ts'

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** In memory, without bounds on what waits. A string says why it cannot run here. */
export const startMosquitto = async (stage: Stage): Promise<(Server & { readonly port: number }) | string> => {
  if (spawnSync('mosquitto', ['-h']).error) return 'mosquitto is not installed (Debian package mosquitto)'
  const port = await freePort()
  const config = join(stage.folder(), 'mosquitto.conf')
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'persistence false',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'log_dest stderr',
    `user ${process.env.USER ?? 'root'}`,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const server = await stage.server({
    command: 'mosquitto',
    args: ['-c', config],
    ready: (line) => line.includes('running'),
  })
  return { ...server, port }
}

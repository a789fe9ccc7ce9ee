import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { gatewayBlocks, shellBlocks } from '../readme/blocks.ts'

const root = new URL('../..', import.meta.url).pathname

/** Runs a block as it stands, but for the ports, which are whatever was free. */
const run = async (script: string, gateway: RunningGateway): Promise<string> => {
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-euo', 'pipefail', '-c', script.replaceAll('127.0.0.1:8080', `127.0.0.1:${gateway.port}`)],
    {
      cwd: root,
      env: {
        ...process.env,
        PATH: `${root}node_modules/.bin:${process.env.PATH}`,
        SLUICE_URL: `http://127.0.0.1:${gateway.port}`,
        SLUICE_ADMIN: `http://127.0.0.1:${gateway.adminPort}`,
        PORT: String(gateway.port),
      },
      timeout: 30_000,
    },
  )
  return stdout
}

describe('README', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway.close())

  it('begins with the two commands that a newcomer types', () => {
    const [first, second] = shellBlocks('README.md')
    expect(first!.script.trim()).toBe('npm ci && npm start')
    expect(second!.script.trim()).toBe('npm ci && npm test')
  })

  it('says only commands that work', async () => {
    const blocks = gatewayBlocks('README.md')
    expect(blocks.length).toBeGreaterThanOrEqual(2)
    const printed: string[] = []
    for (const { script } of blocks) printed.push(await run(script, gateway))
    expect(printed[0]).toMatch(/\nhi\n$/)
    expect(printed[1]).toMatch(/21\.5\n$/)
  }, 60_000)
})

describe('docs/http.md', () => {
  it('says only commands that work', async () => {
    const gateway = await startGateway()
    try {
      for (const { script } of gatewayBlocks('docs/http.md')) await run(script, gateway)
    } finally {
      await gateway.close()
    }
  }, 60_000)
})

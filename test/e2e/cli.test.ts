import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startSluice } from '../run/process.ts'

const main = new URL('../../packages/cli/src/main.ts', import.meta.url).pathname

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

describe('sluice', () => {
  let gateway: RunningGateway
  const folder = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
  beforeAll(async () => {
    gateway = await startGateway({ backend: { embedded: { autoCreateTopics: false } } })
  })
  afterAll(async () => {
    await gateway.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const sluice = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> =>
    new Promise((resolve) => {
      const where = {
        SLUICE_URL: `http://127.0.0.1:${gateway.port}`,
        SLUICE_ADMIN: `http://127.0.0.1:${gateway.adminPort}`,
      }
      execFile(
        process.execPath,
        ['--conditions=@sluice/source', main, ...args],
        { cwd: folder, env: { PATH: process.env.PATH, ...where, ...env }, timeout: 20_000 },
        (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      )
    })

  it('says what it is', async () => {
    expect(await sluice(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^sluice \d+\.\d+\.\d+ \(node v\d+/),
    })
    const help = await sluice(['--help'])
    expect(help.code).toBe(0)
    for (const command of ['start', 'pub', 'sub', 'topic', 'config']) expect(help.stdout).toContain(command)
  })

  it('keeps topics: create, list, describe, delete', async () => {
    expect(await sluice(['topic', 'create', 'orders', '--queues', '3'])).toMatchObject({
      code: 0,
      stdout: 'created orders\t3 queues\tmixed\n',
    })
    const listed = await sluice(['topic', 'list', '--json'])
    expect((JSON.parse(listed.stdout) as { topics: { topic: string }[] }).topics.map(({ topic }) => topic)).toContain(
      'orders',
    )
    const described = await sluice(['topic', 'describe', 'orders'])
    expect(described.stdout.split('\n')).toHaveLength(5)
    expect((await sluice(['topic', 'delete', 'orders'])).code).toBe(0)
    expect(await sluice(['topic', 'describe', 'orders'])).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('topicNotFound'),
    })
  })

  it('publishes and receives, text and JSON', async () => {
    await sluice(['topic', 'create', 'mail'])
    const sent = await sluice([
      'pub',
      'mail',
      'grüße',
      '--tag',
      'a',
      '--key',
      'k1',
      '--key',
      'k2',
      '--property',
      'city=Zürich',
      '--json',
    ])
    expect(sent.code).toBe(0)
    const got = await sluice(['sub', 'mail', '--count', '1', '--json'])
    expect(JSON.parse(got.stdout)).toMatchObject({
      messageId: (JSON.parse(sent.stdout) as { messageId: string }).messageId,
      tag: 'a',
      keys: ['k1', 'k2'],
      properties: { city: 'Zürich' },
    })
    await sluice(['pub', 'mail', 'again', '-q'])
    expect(await sluice(['sub', 'mail', '--count', '1'])).toMatchObject({ code: 0, stdout: 'again\n' })
  })

  it.each([
    ['an unknown command', ['strat'], 2],
    ['a missing argument', ['pub', 'mail'], 2],
    ['a number that is none', ['sub', 'mail', '--count', 'x'], 2],
    ['a property without a value', ['pub', 'mail', 'x', '--property', 'y'], 2],
    ['a misspelled key', ['config', 'print', '--set', 'dran.leavingMs=1'], 2],
    ['nobody at the address', ['pub', 'mail', 'x', '--url', 'http://127.0.0.1:1'], 3],
    ['an unknown topic', ['pub', 'nowhere', 'x'], 4],
    ['no message in time', ['sub', 'mail', '--group', 'late', '--tag', 'none', '--timeout', '300'], 5],
  ])('ends with its code for %s', async (_, args, code) => {
    const ran = await sluice(args)
    expect(ran.code).toBe(code)
    expect(ran.stderr).not.toBe('')
  })

  it('prints the configuration as it would be used, but no secret of it', async () => {
    const printed = await sluice(['config', 'print', '--json', '--set', 'backend.secret=sesame-sesame-sesame'])
    expect(JSON.parse(printed.stdout)).toMatchObject({ data: './.sluice', backend: { secret: '(secret)' } })
  })

  it('says ready with its ports, and finds itself by ports.json', async () => {
    const data = join(folder, 'data')
    const process = await startSluice({ data })
    try {
      expect(process.ports.listeners[0]).toMatchObject({
        host: '127.0.0.1',
        protocols: ['remoting', 'grpc', 'http', 'mqtt', 'amqp'],
      })
      expect((await fetch(`http://127.0.0.1:${process.adminPort}/readyz`)).status).toBe(200)
      const byPorts = await new Promise<Ran>((resolve) => {
        execFile(
          globalThis.process.execPath,
          ['--conditions=@sluice/source', main, 'pub', 'hello', 'hi', '--data', data],
          { env: { PATH: globalThis.process.env.PATH } },
          (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
        )
      })
      expect(byPorts).toMatchObject({ code: 0 })
      process.kill('SIGINT')
      expect(await process.exited).toBe(0)
      expect(await process.line('drained')).toMatchObject({ clean: true })
    } finally {
      process.kill('SIGKILL')
      await process.exited
    }
  })
})

import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from '@sluice/gateway'
import { describe, expect, it } from 'vitest'

const directory = (): string => mkdtempSync(join(tmpdir(), 'sluice-embedding-'))
const publish = (port: number, topic: string, body: string) =>
  fetch(`http://127.0.0.1:${port}/v1/topics/${topic}/messages`, {
    method: 'POST',
    body,
    headers: { connection: 'close' },
  })

/** What keeps the event loop busy beyond what did `before`; the test runner has handles of its own. */
const leftOver = (before: readonly string[]): string[] => {
  const left = process.getActiveResourcesInfo()
  for (const name of before) {
    const at = left.indexOf(name)
    if (at >= 0) left.splice(at, 1)
  }
  return left
}

/** Handles close a little after they were told to. */
const settled = async (before: readonly string[]): Promise<string[]> => {
  for (let turn = 0; turn < 200 && leftOver(before).length > 0; turn++)
    await new Promise((resolve) => setImmediate(resolve))
  return leftOver(before)
}

describe('a gateway in a test', () => {
  it('closes without a trace', async () => {
    const before = process.getActiveResourcesInfo()
    const gateway = await startGateway({ data: directory() })
    expect((await publish(gateway.port, 'orders', 'one')).status).toBe(201)
    await gateway.close()
    expect(await settled(before)).toEqual([])
  })

  it('shares nothing with another one in the same process', async () => {
    const [one, two] = await Promise.all([startGateway(), startGateway()])
    try {
      await publish(one.port, 'only-in-one', 'x')
      const topics = async (port: number) => (await fetch(`http://127.0.0.1:${port}/v1/topics`)).json()
      expect(JSON.stringify(await topics(one.adminPort))).toContain('only-in-one')
      expect(JSON.stringify(await topics(two.adminPort))).not.toContain('only-in-one')
      const metrics = async (port: number) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
      expect(await metrics(one.adminPort)).toMatch(/sluice_messages_in_total\{protocol="http"\} 1\n/)
      expect(await metrics(two.adminPort)).not.toMatch(/sluice_messages_in_total\{protocol="http"\} [1-9]/)
    } finally {
      await Promise.all([one.close(), two.close()])
    }
  })

  it('removes a store that it made itself, keeps one that it was given, and finds it again', async () => {
    const data = directory()
    const first = await startGateway({ data })
    await publish(first.port, 'kept', 'still here')
    await first.close()
    const second = await startGateway({ data })
    const reply = await fetch(`http://127.0.0.1:${second.port}/v1/topics/kept/groups/g/messages:receive`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ maxMessages: 1, waitMs: 1_000, invisibleMs: 10_000 }),
    })
    const { messages } = (await reply.json()) as { messages: { body: string }[] }
    await second.close()
    expect(messages).toHaveLength(1)
    expect(existsSync(data)).toBe(true)
  })

  it('refuses a data directory that is taken, and says by whom', async () => {
    const data = directory()
    const holder = await startGateway({ data })
    try {
      await expect(startGateway({ data })).rejects.toThrow(String(process.pid))
    } finally {
      await holder.close()
    }
  })
})

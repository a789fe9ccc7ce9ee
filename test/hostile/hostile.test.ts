import net from 'node:net'
import { type HostileRow, missingEvents } from '@sluice/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { footprint, growth, lastingGrowth } from './footprint.ts'
import { playAll } from './play.ts'
import { publishers } from './publish.ts'
import { allRows, type HostileGateway, startHostileGateway } from './target.ts'

let target: HostileGateway
beforeAll(async () => {
  target = await startHostileGateway()
})
afterAll(() => target?.close())

const all = allRows()

describe('hostile clients', () => {
  it.each(all.map(({ protocol, rows }) => [protocol, rows] as const))(
    '%s: each is answered and ended as its row says',
    async (_, rows) => {
      expect(rows.length).toBeGreaterThanOrEqual(10)
      const before = target.logged.length
      const { wrong } = await playAll(rows, target, 20)
      expect(wrong).toEqual([])
      expect(missingEvents(rows, target.logged.slice(before))).toEqual([])
    },
    30_000,
  )

  it('leave a gateway that serves', async () => {
    expect(Object.keys(publishers).sort()).toEqual(all.map(({ protocol }) => protocol).sort())
    for (const publish of Object.values(publishers)) await publish(target.ports.plain, 'known')
  })

  it('cause nothing unexpected in the log', () => {
    const failed = target.logged.filter(({ event }) => event === 'plugin.failed' || event === 'process.crashed')
    expect(failed).toEqual([])
  })
})

describe('the harness', () => {
  const [first] = all.find(({ rows }) => rows.length > 0)!.rows as [HostileRow]

  it('finds a wrong answer and a wrong end', async () => {
    const rows = [
      { ...first, name: 'answer', answer: 'c0ffee' },
      { ...first, name: 'end', ends: first.ends === 'closed' ? 'open' : 'closed' } as const,
    ]
    const { wrong } = await playAll(rows, target, 2)
    expect(wrong).toHaveLength(2)
  })

  it('finds a leak of memory, of descriptors and of sockets', async () => {
    const before = footprint()
    const leak = Array.from({ length: 100_000 }, (_, n) => ({ n, text: String(n) }))
    const socket = net.connect(target.ports.plain, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    const grown = growth(before, footprint()).join('\n')
    expect(grown).toMatch(/heap by .*\n?descriptors from .*\n?TCPSocketWrap from/s)
    expect(leak).toHaveLength(100_000)
    socket.destroy()
    expect((await lastingGrowth(before)).join()).not.toMatch(/descriptors|Wrap/)
  })
})

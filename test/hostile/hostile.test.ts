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
  it('finds a wrong answer and a wrong end', async () => {
    const right: HostileRow = { name: 'of no protocol', send: [{ text: '!'.repeat(40) }], ends: 'closed' }
    const rows: HostileRow[] = [
      right,
      { ...right, name: 'wrong answer', answer: 'c0ffee' },
      { ...right, name: 'wrong end', ends: 'open' },
    ]
    const { wrong } = await playAll(rows, target, 3)
    expect(wrong.map((line) => line.replace(/:.*/s, '')).sort()).toEqual(['wrong answer', 'wrong end'])
  })

  it('finds a leak of memory, of descriptors and of sockets', async () => {
    const before = footprint()
    const leak = Array.from({ length: 100_000 }, (_, n) => ({ n, text: String(n) }))
    const sockets = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const socket = net.connect(target.ports.plain, '127.0.0.1')
        await new Promise((resolve) => socket.once('connect', resolve))
        return socket
      }),
    )
    const grown = growth(before, footprint()).join()
    expect(grown).toMatch(/heap by .*descriptors from .*TCPSocketWrap from/)
    leak.length = 0
    for (const socket of sockets) socket.destroy()
    expect(await lastingGrowth(before)).toEqual([])
  })
})

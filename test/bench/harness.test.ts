import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { alternate, type Bench, BenchStage, type Contender, judge, type Sample } from './harness.ts'
import { coresOf, type Machine, machine } from './machine.ts'
import { Child, cpuMs, familyOf, rssMB } from './process.ts'
import { print } from './report.ts'
import { Latencies, ratio, summary } from './statistics.ts'

const unpinned: Machine = { ...machine(), pin: undefined, unpinned: 'a test' }

const script = (text: string) => ({ command: process.execPath, args: ['-e', text] })

describe('statistics', () => {
  it('the median is the middle one, or between the two', () => {
    expect(summary([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
    expect(summary([10, 9, 1, 2])).toEqual({ median: 5.5, min: 1, max: 10 })
    expect(summary([7])).toEqual({ median: 7, min: 7, max: 7 })
    expect(() => summary([])).toThrow('no figures')
  })

  it('a ratio is of medians, its spread of neighbouring rounds', () => {
    // The machine was twice as slow in the second round, for both.
    expect(ratio([10, 20, 10], [5, 10, 5])).toEqual({ median: 2, min: 2, max: 2 })
    expect(ratio([10, 30, 20], [10, 10, 10])).toEqual({ median: 2, min: 1, max: 3 })
    expect(ratio([10, 10], [5])).toEqual({ median: 2, min: 2, max: 2 })
  })

  it('percentiles are those of the sorted list, to within one per cent', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 300 }),
        fc.constantFrom(0, 0.5, 0.9, 0.99, 0.999, 1),
        (values, share) => {
          const latencies = new Latencies()
          for (const value of values) latencies.record(value)
          const sorted = [...values].sort((a, b) => a - b)
          const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!
          const got = latencies.percentile(share)
          expect(got).toBeGreaterThanOrEqual(exact * 0.999)
          expect(got).toBeLessThanOrEqual(exact * 1.01)
        },
      ),
    )
  })

  it('of nothing are zero, and absurd values stay inside', () => {
    const latencies = new Latencies()
    expect(latencies.percentile(0.99)).toBe(0)
    for (const value of [0, -5, 1e15]) latencies.record(value)
    expect([latencies.count, latencies.max]).toEqual([3, 1e15])
    expect(latencies.percentile(0.5)).toBeLessThan(1.01)
  })
})

describe('a comparison', () => {
  const events: string[] = []
  afterEach(() => void events.splice(0))
  const contender = (name: string, values: readonly number[]): Contender => ({
    name,
    async start() {
      events.push(`start ${name}`)
      return {
        async run(round) {
          events.push(`${name}${round}`)
          return { us: values[round]! }
        },
        stop: async () => void events.push(`stop ${name}`),
      }
    },
  })
  const bench = (contenders: readonly Contender[], more: Partial<Bench> = {}): Bench => ({
    method: 'A test.',
    rounds: { quick: 1, full: 1 },
    contenders: () => contenders,
    targets: [],
    ...more,
  })
  const run = (one: Bench, rounds: number) => alternate(one, new BenchStage(false, unpinned), rounds)

  it('runs A B A B …, between one start and one stop', async () => {
    const result = await run(bench([contender('a', [1, 2, 3]), contender('b', [2, 4, 6])]), 3)
    expect(events).toEqual(['start a', 'start b', 'a0', 'b0', 'a1', 'b1', 'a2', 'b2', 'stop a', 'stop b'])
    expect(result.order).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
    expect(result.samples).toEqual({ a: [{ us: 1 }, { us: 2 }, { us: 3 }], b: [{ us: 2 }, { us: 4 }, { us: 6 }] })
  })

  it('goes on without a peer that cannot run here, and says so', async () => {
    const missing: Contender = { name: 'peer', start: async () => 'no java' }
    const one = bench([contender('a', [1]), missing], {
      targets: [{ metric: 'us', of: 'a', against: 'peer', atMost: 1 }],
    })
    const result = await run(one, 1)
    expect([result.unavailable, result.verdicts]).toEqual([{ peer: 'no java' }, []])
    expect(print(reportOf(result), one)).toContain('peer: n/a, no java')
  })

  it('stops all when one fails', async () => {
    const failing: Contender = {
      name: 'b',
      start: async () => ({
        run: () => Promise.reject(new Error('boom')),
        stop: async () => void events.push('stop b'),
      }),
    }
    await expect(run(bench([contender('a', [1]), failing]), 1)).rejects.toThrow('boom')
    expect(events).toEqual(['start a', 'a0', 'stop a', 'stop b'])
  })

  it('whose turn it is not stands still, and wakes for its own and to be stopped', async () => {
    const stage = new BenchStage(false, unpinned)
    const pids: number[] = []
    const still = (pid: number) => /\) T/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    const turn = (name: string, ...expected: boolean[]) => ({
      async run() {
        await vi.waitFor(() => expect(pids.map(still)).toEqual(expected)) // a signal takes a moment
        events.push(name)
        return { us: 1 }
      },
    })
    const owner = (name: string, ...expected: boolean[]): Contender => ({
      name,
      async start() {
        const text = 'setInterval(() => {}, 1e3); console.log("ready")'
        const server = await stage.server({ ...script(text), ready: (line) => line === 'ready' })
        pids.push(server.pid)
        return { ...turn(name, ...expected), stop: () => server.stop() }
      },
    })
    const guest: Contender = { name: 'guest', start: async () => turn('guest', false, false) }
    await alternate(bench([owner('a', false, true), owner('b', true, false), guest]), stage, 2)
    expect(events).toEqual(['a', 'b', 'guest', 'a', 'b', 'guest'])
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([])
  })

  it('is judged by ratio or by figure', () => {
    const samples: Record<string, Sample[]> = { a: [{ us: 1 }, { us: 3 }], b: [{ us: 4 }, { us: 4 }] }
    const judged = judge(
      [
        { metric: 'us', of: 'a', against: 'b', atMost: 0.5 },
        { metric: 'us', of: 'a', against: 'b', atMost: 0.49 },
        { metric: 'us', of: 'b', atLeast: 4 },
        { metric: 'us', of: 'b', atLeast: 4.1 },
        { metric: 'us', of: 'c', atMost: 1 },
        { metric: 'ms', of: 'a', atMost: 1 },
      ],
      samples,
    )
    expect(judged.map(({ value, met }) => [value, met])).toEqual([
      [0.5, true],
      [0.5, false],
      [4, true],
      [4, false],
    ])
  })

  const reportOf = (result: Awaited<ReturnType<typeof alternate>>, loadAfter = 0.5) => ({
    bench: 'test',
    commit: 'abc',
    at: '2026-01-01T00:00:00Z',
    machine: unpinned,
    load: { before: [0.1, 0.2] as const, after: [loadAfter, 0.2] as const },
    method: 'A test.',
    rounds: 2,
    full: false,
    result,
  })

  it('is printed with machine, load, method, medians, spread, ratio and targets', async () => {
    const one = bench([contender('a', [1, 3]), contender('b', [4, 4])], {
      targets: [{ metric: 'us', of: 'a', against: 'b', atMost: 0.4 }],
      explain: () => ['explained'],
    })
    const text = print(reportOf(await run(one, 2), 99), one)
    for (const part of [
      unpinned.cpu,
      unpinned.kernel,
      process.version,
      'NOT pinned: a test',
      'load average 0.1, 0.2 before, 99, 0.2 after: OTHERS WORK HERE',
      'A test.',
      '2 (1–3)',
      'a / b: us × 0.5 (0.25–0.75)',
      'explained',
      'MISSED a / b us ≤ 0.4: 0.5',
    ])
      expect(text).toContain(part)
  })
})

describe('a machine', () => {
  it('knows which cores it may use', () => {
    expect(coresOf('0-1\n')).toEqual([0, 1])
    expect(coresOf('3')).toEqual([3])
    expect(coresOf('0,2-4,7')).toEqual([0, 2, 3, 4, 7])
  })
})

describe('processes', () => {
  const children: Child[] = []
  const child = (text: string) => {
    const one = new Child(script(text))
    children.push(one)
    return one
  }
  afterEach(async () => {
    for (const one of children.splice(0)) await one.stop(0)
  })

  it('are waited for by a line, and their end is an error with what they printed', async () => {
    const ready = child('console.log("first"); console.log("ready 7"); setInterval(() => {}, 1000)')
    expect(await ready.line((line) => line.startsWith('ready'))).toBe('ready 7')
    expect(await ready.line((line) => line === 'first')).toBe('first')
    expect(await ready.stop()).toBe('SIGTERM')
    await expect(child('console.log("bad luck"); process.exit(3)').line(() => false)).rejects.toThrow(
      'ended with 3: bad luck',
    )
    await expect(child('setInterval(() => {}, 1000)').line(() => false, 100)).rejects.toThrow('nothing within 100 ms')
  })

  it('that ignore SIGTERM are killed', async () => {
    const stubborn = child('process.on("SIGTERM", () => {}); console.log("ready"); setInterval(() => {}, 1000)')
    await stubborn.line((line) => line === 'ready')
    expect(await stubborn.stop(50)).toBe('SIGKILL')
  })

  it('are measured with their children: CPU time and memory', async () => {
    const parent = child(`
      const { spawn } = require('node:child_process')
      spawn(process.execPath, ['-e', 'while (process.cpuUsage().user < 200000); console.log("burnt"); setInterval(() => {}, 1000)'], { stdio: 'inherit' })
      setInterval(() => {}, 1000)`)
    await parent.line((line) => line === 'burnt')
    expect(familyOf(parent.pid).length).toBe(2)
    expect(cpuMs(parent.pid)).toBeGreaterThan(150)
    expect(rssMB(parent.pid)).toBeGreaterThan(40)
  })
})

describe('a stage', () => {
  it('runs a load against a server, and adds what the server spent', async () => {
    const stage = new BenchStage(false, unpinned)
    try {
      const server = await stage.server({
        ...script(`
          require('node:net').createServer((socket) => socket.on('data', () => {
            const from = process.cpuUsage()
            while (process.cpuUsage(from).user < 100000);
            socket.end('done')
          })).listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port) })`),
        ready: (line) => line.startsWith('ready '),
      })
      const port = Number(server.readyLine.slice('ready '.length))
      const sample = await stage.load(new URL('./echo.load.ts', import.meta.url), { port }, server)
      expect(sample).toMatchObject({ messages: 1 })
      expect(sample.serverCpuMs).toBeGreaterThanOrEqual(50)
      expect(sample.cpuPer1000Ms).toBe(sample.serverCpuMs! * 1_000)
      expect(sample.serverRssMB).toBeGreaterThan(20)
    } finally {
      await stage.end()
    }
  })

  it('a load that fails is an error with what it printed', async () => {
    const stage = new BenchStage(false, unpinned)
    await expect(stage.load(new URL('./echo.load.ts', import.meta.url), { port: 1 })).rejects.toThrow(/ECONNREFUSED/)
    await stage.end()
  })
})

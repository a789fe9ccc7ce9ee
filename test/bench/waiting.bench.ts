import type { Bench, Contender, Sample } from './harness.ts'

const waitingLoad = new URL('./waiting.load.ts', import.meta.url)
const scaleLoad = new URL('./waitingScale.load.ts', import.meta.url)

const waiting = (name: string, of: 'pops' | 'pops with signals' | 'inboxes' | 'timers' | 'bare', count: number) =>
  ({
    name,
    start: async (stage) => ({
      run: () => stage.load(waitingLoad, { of, count, wakes: stage.full ? 2000 : 500 }),
    }),
  }) satisfies Contender

const scale = (name: string, of: 'topics' | 'groups', count: number): Contender => ({
  name,
  start: async (stage) => ({
    run: () => stage.load(scaleLoad, { of, count, messages: stage.full ? 100_032 : 20_032 }),
  }),
})

const bytesOf = (samples: readonly Sample[] | undefined): number => {
  const all = (samples ?? []).map(({ bytesEach }) => bytesEach ?? 0).sort((a, b) => a - b)
  return all[all.length >> 1] ?? 0
}

const bench: Bench = {
  method:
    'Many in one broker process: parked pops (100 a group and topic), inboxes with one binding and a parked pop each, messages that wait for a time, topics, groups. bytesEach is the growth of the resident memory, or of what is alive in the heap where that is greater, after collections that give back what they can, by their number: what the load holds of each (a promise, its reaction, names) is in it. A wake-up is from the publish to the answer of the pop, flush async, median after as many that warm up. cpuUs is the CPU time of the process for a message of 1 KiB, 64 in flight: published; with groups published, popped and settled.',
  rounds: { quick: 1, full: 5 },
  contenders: () => [
    waiting('1,000 pops', 'pops', 1_000),
    waiting('100,000 pops', 'pops', 100_000),
    waiting('100,000 pops with a signal each', 'pops with signals', 100_000),
    waiting('1,000 inboxes', 'inboxes', 1_000),
    waiting('100,000 inboxes', 'inboxes', 100_000),
    waiting('what the load holds of 100,000 inboxes', 'bare', 100_000),
    waiting('100,000 timers', 'timers', 100_000),
    scale('10 topics', 'topics', 10),
    scale('100,000 topics', 'topics', 100_000),
    scale('10 groups', 'groups', 10),
    scale('10,000 groups', 'groups', 10_000),
  ],
  targets: [
    { metric: 'bytesEach', of: '100,000 pops', atMost: 1024 },
    { metric: 'bytesEach', of: '100,000 inboxes', atMost: 1024 },
    { metric: 'bytesEach', of: '100,000 timers', atMost: 1024 },
    { metric: 'wakeUs', of: '100,000 pops', against: '1,000 pops', atMost: 2 },
    { metric: 'wakeUs', of: '100,000 inboxes', against: '1,000 inboxes', atMost: 2 },
    { metric: 'cpuUs', of: '100,000 topics', against: '10 topics', atMost: 1.3 },
    { metric: 'cpuUs', of: '10,000 groups', against: '10 groups', atMost: 1.3 },
  ],
  pairs: [
    ['100,000 pops', '1,000 pops'],
    ['100,000 inboxes', '1,000 inboxes'],
    ['100,000 topics', '10 topics'],
    ['10,000 groups', '10 groups'],
  ],
  explain: (samples) => {
    const all = bytesOf(samples['100,000 inboxes'])
    const own = bytesOf(samples['what the load holds of 100,000 inboxes'])
    return [`of the ${all} bytes of an inbox with its parked pop, ${own} are the load's own`]
  },
}

export default bench

import type { Bench, Contender } from './harness.ts'

const waiting = (name: string, of: 'pops' | 'inboxes' | 'timers', count: number): Contender => ({
  name,
  start: async (stage) => ({
    run: () => stage.load(new URL('./waiting.load.ts', import.meta.url), { of, count, wakes: stage.full ? 2000 : 500 }),
  }),
})

const bench: Bench = {
  method:
    'Many that wait in one broker process: parked pops (100 a group and topic), inboxes with one binding and a parked pop each, messages that wait for a time. Bytes each are the growth of the resident memory after collection by their number; a wake-up is from the publish to the answer of the pop, flush async, median after as many that warm up.',
  rounds: { quick: 1, full: 5 },
  contenders: () => [
    waiting('1,000 pops', 'pops', 1_000),
    waiting('100,000 pops', 'pops', 100_000),
    waiting('1,000 inboxes', 'inboxes', 1_000),
    waiting('100,000 inboxes', 'inboxes', 100_000),
    waiting('100,000 timers', 'timers', 100_000),
  ],
  targets: [
    { metric: 'bytesEach', of: '100,000 pops', atMost: 1024 },
    { metric: 'bytesEach', of: '100,000 inboxes', atMost: 1024 },
    { metric: 'bytesEach', of: '100,000 timers', atMost: 1024 },
    { metric: 'wakeUs', of: '100,000 pops', against: '1,000 pops', atMost: 2 },
    { metric: 'wakeUs', of: '100,000 inboxes', against: '1,000 inboxes', atMost: 2 },
  ],
  pairs: [
    ['100,000 pops', '1,000 pops'],
    ['100,000 inboxes', '1,000 inboxes'],
  ],
}

export default bench

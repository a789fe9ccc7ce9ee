import { type Bench, type Contender, figures } from './harness.ts'
import { stageNames } from './pipeline/stages.ts'
import { summary } from './statistics.ts'

const file = new URL('./pipeline/load.ts', import.meta.url)

/** A process of its own for each: call sites that have seen other chains would be slower than a gateway's. */
const variant = (name: string, stages: readonly string[]): Contender => ({
  name,
  start: async (stage) => ({ run: () => stage.load(file, { stages, seconds: stage.full ? 0.5 : 0.3 }) }),
})

const bench: Bench = {
  method:
    'µs a publish command from `handle` to its reply, one at a time, over a core that answers at once: one bare awaited call, all stages, each stage left out, and each prefix of the list. A process a variant; commands are not sampled by a tracer.',
  rounds: { quick: 3, full: 4 },
  contenders: () => [
    variant('all', stageNames),
    variant('bare', []),
    ...stageNames.map((name) =>
      variant(
        `without ${name}`,
        stageNames.filter((other) => other !== name),
      ),
    ),
    ...stageNames.slice(0, -1).map((name, index) => variant(`up to ${name}`, stageNames.slice(0, index + 1))),
  ],
  peers: ['bare'],
  explain(samples) {
    const us = (name: string) => summary(figures(samples[name], 'commandUs')).median
    const all = us('all')
    let before = us('bare')
    return [
      'stage        adds, in its place   is missed, when left out   share of all',
      ...stageNames.map((name, index) => {
        const after = index === stageNames.length - 1 ? all : us(`up to ${name}`)
        const adds = after - before
        before = after
        const missed = all - us(`without ${name}`)
        const share = `${Math.round((100 * missed) / all)} %`
        return `${name.padEnd(12)} ${adds.toFixed(2).padStart(9)} µs ${missed.toFixed(2).padStart(19)} µs ${share.padStart(18)}`
      }),
      'A stage that has nothing to do here (no tenants, no quota …) is a call or nothing; about 0.05 µs is noise.',
    ]
  },
  targets: [{ metric: 'commandUs', of: 'all', atMost: 5 }],
}

export default bench

import { type Mutant, runMutants } from './mutate.ts'

const source = 'packages/broker/src'
const pops = { suite: `${source}/popBugs.test.ts` }
const torn = { suite: `${source}/torn.test.ts` }
/** Found by the power cuts, whose model knows what the kinds of messages mean and nothing of the broker. */
const campaign = { suite: 'test/chaos/powercut.test.ts', test: 'leaves what was acknowledged, in 500 seeds' }

const mutants: readonly Mutant[] = [
  {
    name: '#3787: any receipt of a message settles it',
    file: `${source}/settle.ts`,
    from: 'held.poppedAt !== receipt.poppedAt || ',
    to: '',
    ...pops,
    test: '#3787: a slow consumer cannot settle, or give back, what somebody else holds by now',
  },
  {
    name: '#7914: recovery forgets what was out',
    file: `${source}/replay.ts`,
    from: 'else cursor.hold({ offset, ...fields })',
    to: '',
    ...pops,
    test: '#7914: what was out when the broker died comes again, each time',
  },
  {
    name: '#5408: what comes back waits for the first that is out',
    file: `${source}/popSelect.ts`,
    from: 'const held = cursor.dueBy(now)',
    to: 'const [held] = [...cursor.held.values()].slice(0, 1).filter(({ due }) => due <= now)',
    ...pops,
    test: '#5408: a message that is held for long holds up none behind it',
  },
  {
    name: '#4815: the back-off begins where it is two minutes',
    file: `${source}/groups.ts`,
    from: 'backoff[Math.min(attempt, backoff.length) - 1]',
    to: 'backoff[Math.min(attempt + 3, backoff.length) - 1]',
    ...pops,
    test: '#4815: the first retry comes after ten seconds',
  },
  {
    name: '#6681: nobody is woken by what comes back',
    file: `${source}/popWake.ts`,
    from: 'groupTopic.unwake = undefined\n    wakeNext(groupTopic)',
    to: 'groupTopic.unwake = undefined',
    ...pops,
    test: '#6681: a pop that waits is woken by a message that comes back',
  },
  {
    name: '#10058: what comes back always goes first',
    file: `${source}/popSelect.ts`,
    from: 'const NEW_FIRST = 4',
    to: 'const NEW_FIRST = 1e9',
    ...pops,
    test: '#10058: neither do retries starve new messages, nor new ones the retries',
  },
  {
    name: 'acknowledged before it is on the disk',
    file: `${source}/log.ts`,
    from: "if (this.#options.flush === 'sync' || after) await this.#sync(to)",
    to: "if (this.#options.flush === 'sync' || after) void this.#sync(to).catch(() => undefined)",
    ...campaign,
  },
  {
    name: 'memory that a reader has is written again',
    file: `${source}/log.ts`,
    from: 'chunk.lent = true',
    to: '',
    suite: `${source}/log.test.ts`,
    test: 'writes again into memory that nobody reads, and never into what a reader has',
  },
  {
    name: 'a timer is lost when its segment goes',
    file: `${source}/retention.ts`,
    from: 'for (let at = 0; at < delayed.length; at += COPY)',
    to: 'for (let at = 0; at < 0; at += COPY)',
    ...campaign,
  },
  {
    name: 'a timer fires again after a restart',
    file: `${source}/timers.ts`,
    from: 'log.append(writeDelayDone(delayed.key))',
    to: '',
    ...campaign,
  },
  {
    name: 'a half message is visible after a restart',
    file: `${source}/replay.ts`,
    from: 'if (prelude?.half) return state.halves.add(halfOf(message, place, size, prelude))',
    to: '',
    ...campaign,
  },
  {
    name: 'a decision is forgotten',
    file: `${source}/transactions.ts`,
    from: 'this.#core.log.append(writeHalfDone(key))',
    to: '',
    ...campaign,
  },
  {
    name: 'a snapshot forgets the transactions',
    file: `${source}/snapshot.ts`,
    from: 'writer.number(halves.size)\n  for (const half of halves.all()) {',
    to: 'writer.number(0)\n  for (const half of []) {',
    ...campaign,
  },
  {
    name: 'a recall is forgotten',
    file: `${source}/publish.ts`,
    from: 'log.append(writeDelayDone(delayed.key))',
    to: '',
    ...campaign,
  },
  {
    name: 'offsets are ahead of the store: readers see what is not on the disk',
    file: `${source}/topics.ts`,
    from: 'this.#sealed = this.records.max',
    to: 'this.#sealed = this.visible = this.records.max',
    ...campaign,
  },
  {
    name: 'double revive: what was settled comes again',
    file: `${source}/replay.ts`,
    from: 'cursor.settle(body.number())',
    to: 'body.number()',
    ...campaign,
  },
  {
    name: 'what was popped before its turn comes at its turn again',
    file: `${source}/replay.ts`,
    from: 'for (const { level, next } of popped.levels) cursor.took(level, next)',
    to: '',
    ...campaign,
  },
  {
    name: 'a dead letter and the end of its lease are two',
    file: `${source}/dead.ts`,
    from: 'viewRecord(record, core.settings.node), held.attempt, true)',
    to: 'viewRecord(record, core.settings.node), held.attempt, false)',
    ...torn,
    test: 'a dead letter and the end of its lease',
  },
  {
    name: 'messages and acceptances of one write are two',
    file: `${source}/log.ts`,
    from: 'chained || this.#chaining',
    to: 'chained',
    ...torn,
    test: 'messages of a publish and the receipts that it accepts',
  },
  {
    name: 'a committed message and the end of its transaction are two',
    file: `${source}/transactions.ts`,
    from: 'chained: true,\n      prepared',
    to: 'chained: false,\n      prepared',
    ...torn,
    test: 'a committed message and the end of its transaction',
  },
  {
    name: 'a repeated publish is stored again',
    file: `${source}/inboxReplay.ts`,
    from: 'state.inboxes.get(inbox)?.answered(slot, { stored })',
    to: '',
    ...campaign,
  },
]

process.env.SLUICE_SEEDS = '500'
await runMutants(mutants)

import { type Mutant, runMutants } from './mutate.ts'

const file = 'protocols/grpc/src/owed.ts'
const suite = 'protocols/grpc/src/owed.test.ts'
const bounded = 'is limits.outboundBytes at most; the rest of a batch is with the next consumer at once, uncounted'
const waited = 'is waited for by its next poll, until its reader has taken some'
const single = 'is one message where a single one is larger, and waits no longer than it is told'

const mutants: readonly Mutant[] = [
  {
    name: 'a connection is given more than it has room for',
    file,
    from: 'if (this.#bytes > 0 && this.#bytes + size > this.#most) break',
    to: '',
    suite,
    test: bounded,
  },
  {
    name: 'a message that is larger than the room is never given',
    file,
    from: 'this.#bytes > 0 && this.#bytes + size',
    to: 'this.#bytes + size',
    suite,
    test: single,
  },
  {
    name: 'polls that wait for room are not told of it',
    file,
    from: 'for (const go of waiting) go()',
    to: '',
    suite,
    test: waited,
  },
  {
    name: 'a poll that was given up waits for room',
    file,
    from: "signal.addEventListener('abort', done)",
    to: '',
    suite,
    test: single,
  },
]

await runMutants(mutants)

import { type Mutant, runMutants } from './mutate.ts'

const source = 'protocols/remoting/src'
const sends = `${source}/sends.ts`
const identity = `${source}/identity.ts`
const suite = `${source}/sends.test.ts`

const mutants: readonly Mutant[] = [
  {
    name: 'answers are said before the store has the messages',
    file: sends,
    from: 'const { stored } = await this.#gateway.handle(',
    to: `const stored = messages.map((_, offset) => ({ id: 'I', queue: into!, offset, place: 0 }))
      void this.#gateway.handle(`,
    suite,
    test: 'count each against what may be in flight',
  },
  {
    name: 'the answers of a run are told to the wrong requests',
    file: sends,
    from: 'stored[at] as Stored',
    to: 'stored[frames.length - 1 - at] as Stored',
    suite,
    test: 'are one command a queue, in their order, and each has its own answer',
  },
  {
    name: 'one refused message of a run refuses its neighbours',
    file: sends,
    from: 'stored[at] as Stored',
    to: '(stored.find((one) => Fault.is(one)) ?? stored[at]) as Stored',
    suite,
    test: 'are refused each for itself',
  },
  {
    name: 'an answer that cannot be said refuses those behind it',
    file: sends,
    from: 'this.#host.refuse(frame, error)\n      }\n    }\n    this.#take()',
    to: 'throw error\n      }\n    }\n    this.#take()',
    suite,
    test: 'are answered each for itself, whatever cannot be said of one',
  },
  {
    name: 'a send that is signed is stored as the session',
    file: identity,
    from: 'this.#isSigned || isSigned(frame) ?',
    to: 'this.#isSigned ?',
    suite,
    test: 'are each of who signed it, between others that nobody signed',
  },
  {
    name: 'what is not signed is whose the connection is',
    file: identity,
    from: 'this.#isSigned || isSigned(frame) ?',
    to: 'isSigned(frame) ?',
    suite: `${source}/conversation.test.ts`,
    test: 'is proved request by request where requests are signed',
  },
]

await runMutants(mutants)

import { type CommandOf, type Context, compose, type Handle, type Replies, type Session } from '@sluice/core'
import { makeStages } from './stages.ts'

/** `stages`: which, in order. `seconds`: of measuring, after half as much warm-up. */
const { stages: wanted, seconds } = JSON.parse(process.argv[2] ?? '{}') as { stages: string[]; seconds: number }

const BATCH = 2_000
const { stages, end } = makeStages()
const command: CommandOf<'publish'> = {
  kind: 'publish',
  messages: [{ topic: 'orders', body: Buffer.alloc(1_024), properties: {} }],
  oneway: false,
}
const reply: Replies['publish'] = {
  stored: [{ id: '1', queue: { topic: 'orders', node: 'a', index: 0 }, offset: 1, place: 1 }],
}
const principal = { name: 'bench', tenant: '', super: false }
const session: Session = {
  id: 'bench/1',
  client: 'bench',
  principal,
  protocol: 'remoting',
  language: 'JS',
  version: 1,
  remoteAddress: '127.0.0.1:1',
  localAddress: '127.0.0.1:2',
  notify: async () => undefined,
}
const core = (async () => reply) as unknown as Handle
const handle = compose(
  wanted.map((name) => stages[name]!),
  core,
)

const batch = async (): Promise<void> => {
  const context: Context = { session, principal, deadline: Date.now() + 5_000 }
  for (let index = 0; index < BATCH; index++) await handle(command, context)
}

const run = async (ms: number): Promise<number> => {
  const until = performance.now() + ms
  let commands = 0
  while (performance.now() < until) {
    await batch()
    commands += BATCH
    // Timers get their turn, as they do between two reads of a socket.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return commands
}

await run(seconds * 500)
const began = performance.now()
const commands = await run(seconds * 1_000)
const took = performance.now() - began
end()
console.log(JSON.stringify({ commandUs: (took * 1_000) / commands }))

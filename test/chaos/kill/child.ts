import { openBroker } from '@sluice/broker'
import type { CommandOf, Context, Kind } from '@sluice/core'

/** A broker in a process of its own, to be killed. Commands come and answers go by IPC; bodies are texts. */
export interface Ask {
  readonly id: number
  readonly command:
    | { readonly do: 'publish'; readonly body: string }
    | { readonly do: 'pop' }
    | { readonly do: 'accept'; readonly receipts: CommandOf<'settle'>['receipts'] }
    | { readonly do: 'all' }
}
export interface Said {
  readonly id: number
  readonly bodies?: readonly string[]
  readonly receipts?: CommandOf<'settle'>['receipts']
  readonly error?: string
}

const TOPIC = 'Kill'
const principal = { name: 'k', tenant: '', super: true }
const context = (): Context => ({
  session: {
    id: 'kill/1',
    client: 'kill',
    principal,
    protocol: 'test',
    language: 'js',
    version: 1,
    remoteAddress: '127.0.0.1:1',
    localAddress: '127.0.0.1:2',
    notify: async () => undefined,
  },
  principal,
  deadline: Date.now() + 10_000,
})

const broker = await openBroker({ dir: process.argv[2]!, segmentBytes: 256 * 1024 })
const run = <K extends Kind>(command: CommandOf<K>) => broker.execute<K>(broker.node, command, context())

const answer = async ({ id, command }: Ask): Promise<Said> => {
  switch (command.do) {
    case 'publish': {
      const message = { topic: TOPIC, body: Buffer.from(command.body), properties: {} }
      const { stored } = await run<'publish'>({ kind: 'publish', messages: [message], oneway: false })
      const [one] = stored
      return one instanceof Error ? { id, error: one.message } : { id }
    }
    case 'pop': {
      const source = { kind: 'group', topic: TOPIC, group: 'g' } as const
      const { batch } = await run<'pop'>({ kind: 'pop', source, max: 16, invisible: 1000, wait: 0, fifo: false })
      const delivered = [...batch]
      return {
        id,
        bodies: delivered.map(({ message }) => message.body.toString()),
        receipts: delivered.map(({ receipt }) => receipt!),
      }
    }
    case 'accept': {
      const { failed } = await run<'settle'>({
        kind: 'settle',
        receipts: command.receipts,
        outcome: { kind: 'accept' },
      })
      return failed.length > 0 ? { id, error: failed[0]!.fault.code } : { id }
    }
    case 'all':
      return { id, bodies: await all() }
  }
}

const all = async (): Promise<string[]> => {
  const bodies: string[] = []
  for (let index = 0; index < 4; index++) {
    for (let offset = 0; ; ) {
      const from = { by: 'offset', queue: { topic: TOPIC, node: broker.node, index }, offset } as const
      const { batch, next, max } = await run<'read'>({ kind: 'read', from, max: 1000, bytes: 10_000_000, wait: 0 })
      for (const { message } of batch) bodies.push(message.body.toString())
      offset = next
      if (next >= max) break
    }
  }
  return bodies
}

process.on('message', (ask: Ask) => {
  answer(ask)
    .catch((error: unknown): Said => ({ id: ask.id, error: String(error) }))
    .then((said) => process.send!(said))
})
process.on('disconnect', () => process.exit(0))
process.send!({ id: 0 })

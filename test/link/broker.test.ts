import type { BrokerOptions } from '@sluice/broker'
import { vi } from 'vitest'
import { linked } from './linked.ts'

// What the broker promises is promised over a link: its own suites once more, each broker behind one.
vi.mock('../../packages/broker/src/broker.ts', async (original) => {
  const real = await original<typeof import('../../packages/broker/src/broker.ts')>()
  return { ...real, openBroker: async (options: BrokerOptions) => linked(await real.openBroker(options), options) }
})

await import('../../packages/broker/src/commands.test.ts')
await import('../../packages/broker/src/pop.test.ts')
await import('../../packages/broker/src/inbox.test.ts')
await import('../../packages/broker/src/transactions.test.ts')
await import('../../packages/broker/src/accepts.test.ts')
await import('../../packages/broker/src/delay.test.ts')
await import('../../packages/broker/src/priority.test.ts')
await import('../../packages/broker/src/wills.test.ts')
await import('../../packages/broker/src/popBugs.test.ts')
await import('../../packages/broker/src/broker.test.ts')

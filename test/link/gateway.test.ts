import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GatewayOptions } from '@sluice/gateway'
import { vi } from 'vitest'

// Each gateway of these suites has its broker behind a link.
vi.mock('@sluice/gateway', async (original) => {
  const real = await original<typeof import('@sluice/gateway')>()
  const startGateway = async (options: GatewayOptions = {}) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-link-'))
    const { data = join(folder, 'data'), backend, advertise, limits } = options
    const config = real.checkConfig({
      data: join(data, 'broker'),
      listeners: [{ port: 0 }],
      log: { level: 'silent' },
      backend: { ...backend },
      ...(advertise !== undefined && { advertise }),
      ...(limits && { limits }),
    })
    const broker = await real.runBroker(config, { listen: `unix:${folder}/s`, adminPort: 0 })
    const gateway = await real.startGateway({ ...options, data, backend: { brokers: [broker.address] } })
    const drained = gateway.drained.finally(async () => {
      await broker.close()
      rmSync(folder, { recursive: true, force: true })
    })
    drained.catch(() => undefined)
    return {
      ...gateway,
      drained,
      drain(plan?: Parameters<typeof gateway.drain>[0]) {
        void gateway.drain(plan)
        return drained
      },
      async close() {
        await gateway.close()
        await drained
      },
    }
  }
  return { ...real, startGateway }
})

/** In each run those that ask most of a broker; `LINK_SUITES=matrix,mqtt,amqp,grpc,http` others of test/e2e. */
const suites = process.env.LINK_SUITES ?? 'remoting,filter'
for (const one of suites.split(',')) await import(`../e2e/${one}.test.ts`)

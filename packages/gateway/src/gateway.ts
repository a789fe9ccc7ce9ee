import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock, Credentials, Log, Principal, Protocol } from '@sluice/core'
import type { DrainPlan, Verdict } from '@sluice/drain'
import type { Tracer } from '@sluice/governance'
import { checkConfig } from './config/load.ts'
import type { ConfigInput } from './config/schema.ts'
import { createLog } from './log.ts'
import type { Ports } from './ports.ts'
import { runGateway } from './run.ts'

/** What a program may hand in beyond the configuration. */
export interface Extras {
  readonly log?: Log
  readonly clock?: Clock
  readonly tracer?: Tracer
  /** Folder from which protocol packages are looked up; default: the working directory. */
  readonly base?: string
  /** @throws Fault 'unauthenticated'. Absent: everybody is one principal who may do everything. */
  authenticate?(who: Credentials): Principal | Promise<Principal>
}

/** Protocols themselves beside names: a program may have made one. */
export type ProtocolExtras = Extras & { readonly protocols?: readonly (string | Protocol)[] }

export type GatewayOptions = Omit<ConfigInput, 'protocols' | 'log'> & ProtocolExtras

export interface RunningGateway {
  readonly ports: Ports
  /** Of the first listener. */
  readonly port: number
  readonly adminPort: number
  /** Folders of protocol packages by name. */
  readonly plugins: Readonly<Record<string, string>>
  /** Runs the phases, then ends everything. A second call hurries the first. */
  drain(plan?: Partial<DrainPlan>): Promise<Verdict>
  /** The verdict of the drain, whoever asked for it. */
  readonly drained: Promise<Verdict>
  /** Ends everything at once; what is unsettled goes back to the broker. */
  close(): Promise<void>
}

/**
 * A gateway for a program or a test: one listener for all protocols and the admin port on free ports of the loopback
 * address, errors only in the log. Without `data` the store is temporary and goes when the gateway has.
 * @throws as `runGateway`
 */
export const startGateway = async (options: GatewayOptions = {}): Promise<RunningGateway> => {
  const { protocols, log, clock, tracer, base, authenticate, ...input } = options
  const temporary = input.data === undefined ? mkdtempSync(join(tmpdir(), 'sluice-')) : undefined
  const remove = () => temporary !== undefined && rmSync(temporary, { recursive: true, force: true })
  try {
    const config = checkConfig({
      listeners: [{ port: 0 }],
      admin: { port: 0 },
      ...input,
      data: input.data ?? temporary,
    })
    const gateway = await runGateway(config, {
      log: log ?? createLog({ level: 'error', format: 'json', to: 2 }),
      ...(protocols && { protocols }),
      ...(clock && { clock }),
      ...(tracer && { tracer }),
      ...(base && { base }),
      ...(authenticate && { authenticate }),
    })
    const drained = gateway.drained.finally(remove)
    drained.catch(() => undefined)
    return {
      ...gateway,
      drained,
      drain(plan) {
        void gateway.drain(plan)
        return drained
      },
      async close() {
        await gateway.close()
        await drained
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

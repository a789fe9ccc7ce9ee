import type { Broker, BrokerStats } from '@sluice/broker'
import { type Command, type EpochMs, Fault, type Log, type Ms } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { context, LeapClock, openHere } from '../campaign/local.ts'
import type { Settings } from '../campaign/site.ts'
import { type Death, MortalFiles } from './mortal.ts'
import { pack, packFault } from './wire.ts'

/** A broker in a process of its own, to be killed. What it is asked comes and what it says goes by IPC. */
export type Asked =
  | { readonly do: 'open'; readonly dir: string; readonly settings: Settings; readonly now: EpochMs; death?: Death }
  | { readonly do: 'execute'; readonly command: Command }
  | { readonly do: 'pass' | 'leap'; readonly ms: Ms }
  | { readonly do: 'arm'; readonly death: Death | undefined }
  | { readonly do: 'idle' | 'stats' | 'close' }

export interface Ask {
  readonly id: number
  readonly asked: Asked
}

export interface Opened {
  readonly node: string
  readonly indexes: number
}
export type Stats = BrokerStats

export type Said =
  | { readonly id: number; readonly reply: unknown }
  | { readonly id: number; readonly failed: ReturnType<typeof packFault> }
  | { readonly line: 'info' | 'warn' | 'error'; readonly event: string; readonly fields: object }

const say = (said: Said): void => void process.send!(said)
const line =
  (level: 'info' | 'warn' | 'error') =>
  (event: string, fields: object = {}) =>
    say({ line: level, event, fields })
const log: Log = { info: line('info'), warn: line('warn'), error: line('error') }

const files = new MortalFiles()
let clock: LeapClock
let broker: Broker

/** Turns without work on files after which nothing is to come. */
const QUIET = 20

const idle = async (): Promise<void> => {
  for (let quiet = 0; quiet < QUIET; quiet = files.isBusy ? 0 : quiet + 1) await turns(1)
}

const open = async ({ dir, settings, now, death }: Extract<Asked, { do: 'open' }>): Promise<Opened> => {
  if (death) files.arm(death)
  clock = new LeapClock(now)
  broker = await openHere(settings, { dir, files, clock, log })
  return { node: broker.node, indexes: files.indexes }
}

const answer = (asked: Asked): unknown => {
  switch (asked.do) {
    case 'open':
      return open(asked)
    case 'execute':
      return broker.execute(broker.node, asked.command, context)
    case 'pass':
      return clock.pass(asked.ms)
    case 'leap':
      return clock.leap(asked.ms)
    case 'arm':
      return files.arm(asked.death)
    case 'idle':
      return idle()
    case 'stats':
      return broker.stats()
    case 'close':
      return broker.close()
  }
}

process.on('message', async ({ id, asked }: Ask) => {
  try {
    say({ id, reply: pack(await answer(asked)) })
  } catch (error) {
    const fault = Fault.is(error)
      ? error
      : new Fault('internal', error instanceof Error ? `${error.stack}` : `${error}`)
    say({ id, failed: packFault(fault) })
  }
})
process.on('disconnect', () => process.exit(0))

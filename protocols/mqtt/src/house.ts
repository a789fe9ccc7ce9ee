import type { Gateway } from '@sluice/core'
import { Clients } from './clients.ts'
import { Encodings } from './encodings.ts'
import type { Settings } from './options.ts'
import { SystemTopics, Tally } from './system.ts'

/** What all connections of one protocol server share. */
export interface House {
  readonly settings: Settings
  readonly clients: Clients
  readonly encodings: Encodings
  readonly tally: Tally
  readonly system: SystemTopics
}

export const createHouse = (gateway: Gateway, settings: Settings): House => {
  const tally = new Tally()
  return {
    settings,
    clients: new Clients(gateway.clock),
    encodings: new Encodings(),
    tally,
    system: new SystemTopics(gateway, settings.systemMs, tally),
  }
}

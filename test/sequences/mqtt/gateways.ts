import { Fault } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { http } from '@sluice/protocol-http'
import { mqtt } from '@sluice/protocol-mqtt'
import type { Ports } from './play.ts'

/** What the sequences count on beside the defaults. */
const authenticate: NonNullable<Parameters<typeof startGateway>[0]>['authenticate'] = async (who) => {
  const refused = () => new Fault('unauthenticated', 'not with this')
  if (who.user === 'mallory') throw refused()
  if (who.mechanism === 'PROBE') {
    let proof = who.secret?.toString() ?? ''
    for (let round = 0; proof === 'ask' && round < 3; round++) {
      proof = (await who.exchange!(Buffer.from(`challenge ${round}`))).toString()
    }
    if (proof !== 'yes') throw refused()
  }
  return { name: who.user ?? '', tenant: '', super: false }
}

export interface Gateways {
  readonly ports: Ports
  close(): Promise<void>
}

/** `plain`: MQTT with everything on. `bare`: as little as can be. `web`: WebSocket. */
export const startGateways = async (): Promise<Gateways> => {
  const methods = ['PROBE', 'OTHER']
  const started: RunningGateway[] = await Promise.all([
    startGateway({
      authenticate,
      protocols: [
        mqtt({ authenticationMethods: methods, keepAliveMax: 60, refusedFilters: ['refused/#'], systemSeconds: 0 }),
      ],
    }),
    startGateway({
      protocols: [mqtt({ sharedSubscriptions: false, topicAliasMaximum: 0, receiveMaximum: 3, systemSeconds: 0 })],
    }),
    startGateway({ protocols: [mqtt({ systemSeconds: 0 }), http()] }),
  ])
  const [plain, bare, web] = started.map(({ port }) => port)
  return {
    ports: { plain: plain!, bare: bare!, web: web! },
    close: async () => void (await Promise.all(started.map((gateway) => gateway.close()))),
  }
}

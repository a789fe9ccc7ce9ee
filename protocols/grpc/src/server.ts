import { Fault, frameProtocol, type Gateway, type ProtocolServer } from '@sluice/core'
import type { Hall } from './calls.ts'
import { Clients } from './clients.ts'
import { http2Codec } from './codec.ts'
import { Http2Conversation } from './conversation.ts'
import { statusOf } from './faults.ts'
import { Groups } from './groups.ts'
import type { Frame } from './http2/frames.ts'
import { methodsOf } from './service.ts'

/** Connections of HTTP/2, and the clients on them: one client has any number. */
export const startServer = async (gateway: Gateway): Promise<ProtocolServer> => {
  const hall = hallOf(gateway)
  const { clients } = hall
  const methods = methodsOf(hall)
  const server = await frameProtocol<Frame>({
    name: 'grpc',
    codec: http2Codec,
    converse: (link) => new Http2Conversation(link, hall, methods),
  }).start(gateway)
  const stopTicking = gateway.clock.every(1_000, () => clients.tick(gateway.clock.now()))
  return {
    accept: (socket, peer) => server.accept(socket, peer),
    connections: () => server.connections(),
    async close() {
      stopTicking()
      await server.close()
      clients.close()
    },
  }
}

const hallOf = (gateway: Gateway): Hall => ({
  gateway,
  clients: new Clients(gateway),
  groups: new Groups(gateway.handle, gateway.clock.now),
  refuse: (error) => {
    if (!Fault.is(error)) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      gateway.log.error('plugin.failed', { plugin: 'grpc', error: text })
    }
    return statusOf(error)
  },
})

import { Fault, frameProtocol, type Gateway, type Link, type ProtocolServer } from '@sluice/core'
import type { Hall } from './calls.ts'
import { Clients } from './clients.ts'
import { http2Codec } from './codec.ts'
import { Http2Conversation } from './conversation.ts'
import { statusOf } from './faults.ts'
import { Groups } from './groups.ts'
import type { Frame } from './http2/frames.ts'
import { methodsOf, paths } from './service.ts'

/** Connections of HTTP/2, and the clients on them: one client has any number. */
export const startServer = async (gateway: Gateway, transport: 'frames' | 'grpc-js'): Promise<ProtocolServer> => {
  const hall = hallOf(gateway)
  const { clients } = hall
  const server = transport === 'frames' ? await overFrames(hall) : await overLibrary(hall)
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

const overFrames = (hall: Hall): ProtocolServer | Promise<ProtocolServer> => {
  const methods = methodsOf(hall)
  const converse = (link: Link<Frame>) => new Http2Conversation(link, hall, methods)
  return frameProtocol<Frame>({ name: 'grpc', codec: http2Codec, converse, lastWordCounts: true }).start(hall.gateway)
}

/** The library is loaded where it is wanted: 0.15 s, 50 MB. */
const overLibrary = async (hall: Hall): Promise<ProtocolServer> => {
  const { LibraryServer } = await import('./library/server.ts')
  return new LibraryServer(hall, methodsOf(hall), paths())
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

import { frameProtocol, type Gateway, type Ms, type Protocol } from '@sluice/core'
import { detect, remotingCodec } from './codec.ts'
import { RemotingConversation } from './conversation.ts'
import { Shared } from './shared.ts'

export interface RemotingOptions {
  /** A connection on which nothing came for so long is ended. Default 120 s, as clients do on their side. */
  readonly idleMs?: Ms
}

/** RocketMQ remoting: producers and push and pull consumers of RocketMQ 4.x and 5.x; also their name server. */
export function remoting(options: RemotingOptions = {}): Protocol {
  const shared = new WeakMap<Gateway, Shared>()
  const sharedBy = (gateway: Gateway): Shared => {
    let known = shared.get(gateway)
    if (!known) shared.set(gateway, (known = new Shared(gateway)))
    return known
  }
  return frameProtocol({
    name: 'remoting',
    detect,
    codec: remotingCodec,
    converse: (link, gateway) => new RemotingConversation(link, gateway, sharedBy(gateway)),
    idleMs: options.idleMs ?? 120_000,
  })
}

export default remoting
export { remotingCodec } from './codec.ts'

import { frameProtocol, type Gateway, type Ms, type Protocol } from '@sluice/core'
import { detect, remotingCodec } from './codec.ts'
import { RemotingConversation } from './conversation.ts'
import { Topics } from './topics.ts'

export interface RemotingOptions {
  /** A connection on which nothing came for so long is ended. Default 120 s, as clients do on their side. */
  readonly idleMs?: Ms
}

/** RocketMQ remoting: producers and push and pull consumers of RocketMQ 4.x and 5.x; also their name server. */
export function remoting(options: RemotingOptions = {}): Protocol {
  const topics = new WeakMap<Gateway, Topics>()
  const topicsOf = (gateway: Gateway): Topics => {
    let known = topics.get(gateway)
    if (!known) topics.set(gateway, (known = new Topics(gateway)))
    return known
  }
  return frameProtocol({
    name: 'remoting',
    detect,
    codec: remotingCodec,
    converse: (link, gateway) => new RemotingConversation(link, gateway, topicsOf(gateway)),
    idleMs: options.idleMs ?? 120_000,
  })
}

export default remoting
export { remotingCodec } from './codec.ts'

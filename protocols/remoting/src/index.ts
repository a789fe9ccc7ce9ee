import { checkOptions, frameProtocol, type Gateway, type Ms, type OptionKinds, type Protocol } from '@sluice/core'
import { detect, remotingCodec } from './codec.ts'
import { RemotingConversation } from './conversation.ts'
import { Shared } from './shared.ts'

export interface RemotingOptions {
  /** A connection on which nothing came for so long is ended. Default 120 s, as clients do on their side. */
  readonly idleMs?: Ms
}

const optionKinds: OptionKinds<RemotingOptions> = { idleMs: { kind: 'integer', min: 1_000, max: 86_400_000 } }

/** RocketMQ remoting: producers and push and pull consumers of RocketMQ 4.x and 5.x; also their name server. */
export function remoting(options: RemotingOptions = {}): Protocol {
  const { idleMs = 120_000 } = checkOptions(options, optionKinds)
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
    idleMs,
  })
}

export default remoting
export { remotingCodec } from './codec.ts'

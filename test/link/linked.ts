import type { Broker, BrokerOptions } from '@sluice/broker'
import { type Addressee, type Clock, type Notice, systemClock } from '@sluice/core'
import { BackendServer, connectBackend, type LinkedBackend, type LinkServerStats } from '@sluice/link'
import { socketPair } from '@sluice/testkit'

export const SEAL_KEY = Buffer.alloc(32, 7)

/** A broker behind a link in memory, as far as its gateways see it. */
export type LinkedBroker = Broker & { readonly link: LinkedBackend; linkStats(): LinkServerStats }

/** `processes` of a broker come to it by one server each time. */
export const linked = async (
  broker: Broker,
  { clock = systemClock }: Pick<BrokerOptions, 'clock'> = {},
  process = 'test',
): Promise<LinkedBroker> => {
  const ears = new Ears()
  const server = new BackendServer(tellingAll(broker, ears), { sealKey: SEAL_KEY, clock })
  const link = await connectTo(server, process, clock)
  return {
    link,
    node: broker.node,
    dir: broker.dir,
    can: link.can,
    get nodes() {
      return link.nodes
    },
    execute: (node, command, context) => link.execute(node, command, context),
    onNotice(listener) {
      ears.told = listener
      link.onNotice(ears.hear)
    },
    onNodes: (listener) => link.onNodes(listener),
    resume: (node, resumption, context) => broker.resume(node, resumption, context),
    stats: () => broker.stats(),
    linkStats: () => server.stats(),
    async close() {
      await server.close()
      await link.close()
      await broker.close()
    },
  }
}

type Listener = (to: Addressee, notice: Notice) => Promise<unknown>

class Ears {
  told: Listener = async () => undefined
  heard = 0

  readonly hear: Listener = (to, notice) => {
    this.heard++
    return this.told(to, notice)
  }
}

/** A notice to a group that has no member at any gateway does not travel; a test may want to hear of it. */
const tellingAll = (broker: Broker, ears: Ears): Broker =>
  new Proxy(broker, {
    get(target, name) {
      if (name === 'onNotice')
        return (listener: Listener) =>
          target.onNotice(async (to, notice) => {
            const before = ears.heard
            const answer = await listener(to, notice)
            return ears.heard > before ? answer : ears.told(to, notice)
          })
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

export const connectTo = (server: BackendServer, process: string, clock: Clock = systemClock): Promise<LinkedBackend> =>
  connectBackend({
    address: 'unix:/in/memory',
    process,
    clock,
    dial() {
      const [ours, theirs] = socketPair()
      server.accept(theirs)
      return ours
    },
  })

import type { Gateway, GroupSpec, Peer, Protocol, Session } from '@sluice/core'

const peer: Peer = { address: '127.0.0.1', port: 0, secure: false, local: { address: '127.0.0.1', port: 0 } }

/** Sits in a gateway as a protocol that nobody dials, and gives the orders of an administrator. */
export class Operator {
  #gateway: Gateway | undefined
  #session: Session | undefined

  get protocol(): Protocol {
    return {
      api: 1,
      name: 'operator',
      detect: () => false,
      start: (gateway) => {
        this.#gateway = gateway
        return { accept: (socket) => void socket.destroy(), connections: () => [], close: async () => undefined }
      },
    }
  }

  async putGroup(spec: GroupSpec): Promise<void> {
    const gateway = this.#gateway as Gateway
    const who = { protocol: 'operator', client: 'operator', language: '', version: 0, peer }
    this.#session ??= await gateway.admit(who, async () => undefined)
    await gateway.handle({ kind: 'admin', action: { do: 'putGroup', spec } }, gateway.context(this.#session, 5_000))
  }
}

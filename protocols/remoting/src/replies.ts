import { type Context, type Delivered, Fault, type Gateway, type Pump, type Session } from '@sluice/core'
import type { Frame } from '@sluice/remoting'
import { type Told, toReply } from './notices.ts'

/** Replies that a client is told of at once, and how long they are kept for one that is away. */
const CREDIT = 32
const KEEP_MS = 60_000

/** Where replies to a client's requests go. Others see it as where to reply to. */
export const inboxOf = (client: string): string => `remoting/${client}`

export interface RepliesHost {
  readonly gateway: Gateway
  readonly store: Buffer
  ask(told: Told): Promise<Frame>
}

/** The replies that a client waits for: an inbox, opened by its first request, and told (326) as they come. */
export class Replies {
  readonly #host: RepliesHost
  #of: Session | undefined
  #opening: Promise<void> | undefined
  #pump: Pump | undefined
  #client = ''
  #group = ''

  constructor(host: RepliesHost) {
    this.#host = host
  }

  /** Before a request is sent. @throws Fault 'unsupported' where there are no inboxes */
  open(context: Context, client: string, group: string): Promise<void> {
    this.#group = group
    if (this.#of !== context.session || this.#client !== client) {
      this.close()
      this.#client = client
      this.#of = context.session
      this.#opening = this.#open(context)
      this.#opening.catch(() => {
        this.#of = undefined
      })
    }
    return this.#opening as Promise<void>
  }

  /** The connection has another session now: what is asked for goes on in it. */
  moveTo(context: Context): void {
    if (this.#of) this.open(context, this.#client, this.#group).catch(() => undefined)
  }

  close(): void {
    this.#of = undefined
    void this.#pump?.stop()
    this.#pump = undefined
  }

  async #open(context: Context): Promise<void> {
    const { gateway } = this.#host
    const { session, principal } = context
    const inbox = inboxOf(this.#client)
    const { epoch } = await gateway.handle({ kind: 'open', inbox, fresh: false, expiry: KEEP_MS }, context)
    if (this.#of !== session) return
    const pump = gateway.pump(
      { kind: 'inbox', inbox, epoch },
      {
        session,
        principal,
        invisible: 'session',
        batch: CREDIT,
        fifo: false,
        deliver: (delivered) => {
          for (const one of delivered) void this.#tell(one, pump)
        },
        // Another connection of this client has its replies now, or it is over.
        failed: () => {
          if (this.#pump === pump) this.close()
        },
      },
    )
    this.#pump = pump
    pump.credit(CREDIT)
  }

  /** A client that does not answer does not wait for it any more. */
  async #tell(delivered: Delivered, pump: Pump): Promise<void> {
    try {
      await this.#host.ask(toReply(delivered, this.#group, this.#host.store))
    } catch (error) {
      this.#host.gateway.log.warn('reply.untold', { protocol: 'remoting', code: Fault.from(error).code })
    }
    pump.settle([delivered], { kind: 'accept' }, () => pump.credit(CREDIT - pump.unsettled))
  }
}

import type { Batch, Binding, CommandOf, Context, Kind, Receipt, Replies, ReplyTo, Session } from '@sluice/core'

interface OpenInbox {
  readonly command: CommandOf<'open'>
  readonly epoch: number
  readonly bindings: Map<string, Binding>
  /** Numbers of the deliveries that came and are not settled. */
  readonly holding: Set<number>
}

interface Holder {
  heartbeat: CommandOf<'heartbeat'> | undefined
  readonly inboxes: Map<string, OpenInbox>
}

/** An inbox that a client has open here, for a broker that has forgotten that or may have. */
export interface Resumption {
  readonly open: CommandOf<'open'>
  readonly epoch: number
  /** Numbers of the deliveries that have come here: what else is out was lost on its way. */
  readonly holding: readonly number[]
  /** For one that has to be made anew. */
  readonly bindings: readonly Binding[]
}

const keyOf = (pattern: string, share: string | undefined): string => `${share ?? ''}\0${pattern}`

/** The sessions of this gateway that the broker knows, and what each of them has there. */
export class Holders {
  readonly #holders = new Map<Session, Holder | undefined>()
  /** Their last command is `leave`, or was. */
  readonly #left = new WeakSet<Session>()

  get size(): number {
    return this.#holders.size
  }

  sessions(): Iterable<Session> {
    return this.#holders.keys()
  }

  /** @returns false: it has left; what it says still concerns nobody else */
  met(session: Session): boolean {
    if (this.#left.has(session)) return false
    if (!this.#holders.has(session)) this.#holders.set(session, undefined)
    return true
  }

  left(session: Session): void {
    this.#left.add(session)
    this.#holders.delete(session)
  }

  /** A command was done. */
  done<K extends Kind>(command: CommandOf<K>, reply: ReplyTo<K>, { session }: Context): void {
    const one = command as CommandOf<Kind>
    switch (one.kind) {
      case 'heartbeat':
        if (this.#holders.has(session)) this.#of(session).heartbeat = one
        return
      case 'open':
        return this.#opened(one, reply as Replies['open'], session)
      case 'pop':
        if (one.source.kind === 'inbox') this.#popped(one.source, (reply as Replies['pop']).batch, session)
        return
      case 'settle':
        if (one.outcome.kind !== 'received') this.#settled(one.receipts, session)
        return
      case 'publish':
        if (one.accepts) this.#settled(one.accepts, session)
        return
      case 'bind':
        return this.#bound(one, reply as Replies['bind'], session)
      case 'leave':
        if (typeof one.what === 'object' && 'inbox' in one.what)
          this.#holders.get(session)?.inboxes.delete(one.what.inbox)
    }
  }

  #of(session: Session): Holder {
    const known = this.#holders.get(session)
    if (known) return known
    const holder: Holder = { heartbeat: undefined, inboxes: new Map() }
    this.#holders.set(session, holder)
    return holder
  }

  #opened(command: CommandOf<'open'>, { epoch }: Replies['open'], session: Session): void {
    if (!this.#holders.has(session)) return
    const { inboxes } = this.#of(session)
    const known = inboxes.get(command.inbox)
    // One that was resumed has its bindings still.
    const bindings = known?.epoch === epoch ? known.bindings : new Map<string, Binding>()
    const holding = known?.epoch === epoch ? known.holding : new Set<number>()
    inboxes.set(command.inbox, { command: { ...command, fresh: false }, epoch, bindings, holding })
  }

  #popped({ inbox, epoch }: { readonly inbox: string; readonly epoch: number }, batch: Batch, session: Session): void {
    const open = this.#holders.get(session)?.inboxes.get(inbox)
    if (open?.epoch !== epoch) return
    for (const { receipt } of batch) if (receipt?.of === 'inbox') open.holding.add(receipt.slot)
  }

  /** Also those that could not be: they are not out. */
  #settled(receipts: readonly Receipt[], session: Session): void {
    const inboxes = this.#holders.get(session)?.inboxes
    if (!inboxes) return
    for (const receipt of receipts)
      if (receipt.of === 'inbox' && receipt.way === 'out') inboxes.get(receipt.inbox)?.holding.delete(receipt.slot)
  }

  #bound({ inbox, epoch, add, remove }: CommandOf<'bind'>, { granted }: Replies['bind'], session: Session): void {
    const open = this.#holders.get(session)?.inboxes.get(inbox)
    if (open?.epoch !== epoch) return
    if (remove === 'others') open.bindings.clear()
    else for (const { pattern, share } of remove) open.bindings.delete(keyOf(pattern, share))
    add.forEach((binding, at) => {
      if (granted[at] === true) open.bindings.set(keyOf(binding.pattern, binding.share), binding)
    })
  }

  *heartbeats(): Iterable<{ readonly session: Session; readonly heartbeat: CommandOf<'heartbeat'> }> {
    for (const [session, holder] of this.#holders) if (holder?.heartbeat) yield { session, heartbeat: holder.heartbeat }
  }

  *inboxes(): Iterable<{ readonly session: Session; readonly resumption: Resumption }> {
    for (const [session, holder] of this.#holders) {
      for (const { command, epoch, bindings, holding } of holder?.inboxes.values() ?? [])
        yield {
          session,
          resumption: { open: command, epoch, holding: [...holding], bindings: [...bindings.values()].map(again) },
        }
    }
  }
}

/** What was retained has been sent already. */
const again = (binding: Binding): Binding => ({ ...binding, retained: 'skip' })

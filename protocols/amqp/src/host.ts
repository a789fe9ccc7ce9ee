import type { Gateway, OptionKinds, Session } from '@sluice/core'
import type { Payload } from './codec.ts'
import type { AmqpLink } from './link.ts'
import type { AmqpError, Performative } from './shapes.ts'

export interface AmqpOptions {
  /** SASL mechanisms offered. Default both. A client without SASL is let in as one with ANONYMOUS is. */
  readonly mechanisms?: readonly ('ANONYMOUS' | 'PLAIN')[]
  /** Group of a consumer that names none in its address, its link's `x-opt-group` or its durable link's name. */
  readonly defaultGroup?: string
}

export const optionKinds: OptionKinds<AmqpOptions> = {
  mechanisms: { kind: 'texts', of: ['ANONYMOUS', 'PLAIN'] },
  defaultGroup: { kind: 'text' },
}

/** Channels of a connection, handles of a session: so many and one. */
export const CHANNEL_MAX = 63
export const HANDLE_MAX = 255
/** Links of a connection, over all its sessions. */
export const LINKS_MAX = 1_024
/** Transfer frames of one session that may come before we say so again. */
export const INCOMING_WINDOW = 512
/** Deliveries of one sender that may be on their way; never more than `limits.inflight`. */
export const CREDIT = 256
/** A message may have so much besides its body. */
export const OVERHEAD = 64 * 1024

/** What sessions and links ask of their connection. */
export interface Host {
  readonly gateway: Gateway
  /** Who is on the other end. */
  readonly session: Session
  readonly defaultGroup: string
  /** The largest frame that the peer takes. */
  readonly maxFrame: number
  /** Bytes of one message, sections included, that we take. */
  readonly maxMessage: number
  /** Links by role and name: one of each name and direction between two containers. [2.6.1] */
  readonly links: Map<string, AmqpLink>
  readonly memory: Memory
  /** The connection is to end: nothing new begins. */
  readonly leaving: boolean
  /** The peer takes what is sent more slowly than it comes. */
  readonly slow: boolean
  /** Deliveries that may still be handed to the peer without its word on earlier ones. */
  readonly room: number
  send(channel: number, body: Performative, payload?: Payload): void
  /** Ends the connection. */
  close(error: AmqpError): undefined
  /** The connection's end waits for this. */
  stopping(stopped: Promise<void>): void
}

/** Bytes of messages that one connection holds: such that come in parts, and such that are being published. */
export class Memory {
  readonly #high: number
  readonly #max: number
  readonly #eased: () => void
  #held = 0

  /** `bodyBytes`: of the largest message; `eased`: it is no longer high. */
  constructor(bodyBytes: number, eased: () => void) {
    this.#high = bodyBytes * 4
    this.#max = bodyBytes * 16
    this.#eased = eased
  }

  /** Windows and credit are not renewed. */
  get high(): boolean {
    return this.#held > this.#high
  }

  /** False: there is no room for these, and they are not held. */
  hold(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false
    this.#held += bytes
    return true
  }

  release(bytes: number): void {
    const high = this.high
    this.#held -= bytes
    if (high && !this.high) this.#eased()
  }
}

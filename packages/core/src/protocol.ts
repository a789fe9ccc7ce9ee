import type { Duplex } from 'node:stream'
import type { Clock } from './clock.ts'
import type { Column, Field } from './conversions.ts'
import type { Limits } from './limits.ts'
import type { EpochMs, Fault, Ms, Notice, Source } from './model.ts'
import type { Context, Handle, Principal, Session } from './pipeline.ts'
import type { Pump, PumpOptions } from './pump.ts'
import type { Seal } from './seal.ts'
import type { Signal } from './signal.ts'

/** Whoever is on the other end, with the PROXY protocol respected. */
export interface Peer {
  readonly address: string
  readonly port: number
  readonly secure: boolean
  /** What the client dialled. */
  readonly local: { readonly address: string; readonly port: number }
  readonly alpn?: string
  readonly certificate?: unknown
}

/** Bytes ↔ frames: pure, synchronous, no clock, no socket. */
export interface Codec<Frame> {
  decoder(): Decoder<Frame>
  /** A list: header and body slices, written with one cork. */
  encode(frame: Frame): Buffer | readonly Buffer[]
}

export interface Decoder<Frame> {
  /**
   * Emits each frame that is complete. Slices of `chunk` may be emitted and kept.
   * @throws Fault 'malformed', 'tooLarge' or 'unsupported'; a decoder that threw is not used again.
   */
  decode(chunk: Buffer, emit: (frame: Frame) => void): void
  /** Bytes held for a frame that is not complete: never above `limits.frameBytes`. */
  readonly buffered: number
}

/** What a plugin exports: `export default (options) => Protocol`. */
export interface Protocol {
  readonly api: 1
  readonly name: string
  /** From the first bytes: ours, not ours, or too few to say. Needed where a port is shared. */
  detect?(head: Buffer): boolean | undefined
  start(gateway: Gateway): ProtocolServer | Promise<ProtocolServer>
}

export interface ProtocolServer {
  accept(socket: Duplex, peer: Peer): void
  /** The drain paces them one by one. */
  connections(): Iterable<Connection>
  close(): Promise<void>
}

export type GoAwayReason = 'draining' | 'aged'

/** What the drain sees of a connection. */
export interface Connection {
  readonly id: string
  readonly since: EpochMs
  /** Requests without an answer and deliveries without a settlement. Parked polls are not work. */
  readonly busy: number
  readonly state: 'serving' | 'told' | 'closed'
  /** Tells it its protocol's way, wakes its parked polls, and keeps serving. */
  goAway(reason: GoAwayReason, elsewhere?: string): void
  /**
   * Says the last word and closes: as soon as nothing is in flight, or with `force` now, even when the peer does not read.
   * A server that cannot wait by itself ignores the call while work is in flight, and is asked again.
   */
  end(force: boolean): void
}

/** The name of a protocol that the conversion table does not know. */
export type OtherColumn = string & {}

/** Everything that a protocol may ask of the process around it. */
export interface Gateway {
  readonly handle: Handle
  readonly limits: Limits
  readonly clock: Clock
  /** For each request where requests are signed; cached, mostly synchronous. @throws Fault 'unauthenticated' */
  authenticate(who: Credentials): Principal | Promise<Principal>
  /** @throws Fault 'unauthenticated', 'limit' */
  admit(who: Credentials, notify: Session['notify']): Promise<Session>
  /** Ends the session: its memberships leave. */
  release(session: Session): void
  /** One object a request. `patience`: how long from now its answer is worth waiting for. */
  context(session: Session, patience: Ms, more?: ContextExtras): Context
  /** Push made of pops under credit. */
  pump(source: Source, options: PumpOptions): Pump
  /** Receipts as text for clients that hold them themselves (gRPC, HTTP). Never in the model. */
  readonly seal: Seal
  /** What route answers say: what the client dialled, unless configured. */
  advertised(session: Session): { readonly host: string; readonly port: number }
  /** Hands a byte stream made inside a protocol (a WebSocket) to another one. @throws Fault 'unsupported' when that is not running */
  adopt(protocol: string, socket: Duplex, peer: Peer): void
  /** A field of a message that could not travel. */
  lost(from: string, to: Column | OtherColumn, field: Field): void
  readonly log: Log
}

export interface ContextExtras {
  readonly signal?: Signal
  readonly principal?: Principal
  readonly traceparent?: string
}

/** One event name a line, no payloads, no stack for an expected close. */
export interface Log {
  info(event: string, fields?: object): void
  warn(event: string, fields?: object): void
  error(event: string, fields?: object): void
}

export interface Credentials {
  readonly protocol: string
  readonly client: string
  readonly language: string
  readonly version: number
  readonly peer: Peer
  readonly mechanism?: string
  readonly user?: string
  readonly secret?: Buffer
  /** Remoting, gRPC, ApsaraMQ HTTP and MQTT alike. */
  readonly signed?: { readonly algorithm: 'hmac-sha1'; readonly content: Buffer; readonly digest: Buffer }
  /**
   * SASL SCRAM, MQTT 5 AUTH: says something to the client and resolves with its answer. A last word that needs none is
   * asked without awaiting: it travels with the acceptance.
   */
  readonly exchange?: (challenge: Buffer) => Promise<Buffer>
}

// ── Protocols whose bytes are ours: frameProtocol makes a Protocol of these ────────────────────────
export interface FrameProtocol<Frame> {
  readonly name: string
  detect?(head: Buffer): boolean | undefined
  codec(limits: Limits): Codec<Frame>
  converse(link: Link<Frame>, gateway: Gateway): Conversation<Frame>
  /** A connection on which nothing came for so long is ended. Absent: never. */
  readonly idleMs?: Ms
  /**
   * Its last word says which of all requests were served, those that are still on their way among them (HTTP/2 GOAWAY): the
   * answers of a connection that is to end need not wait for it.
   */
  readonly lastWordCounts?: true
}

/** A conversation's way to its peer. */
export interface Link<Frame> {
  readonly id: string
  readonly peer: Peer
  /** All frames of a tick leave in one write. False: too much waits for this reader; see {@link Link.writable}. */
  send(frame: Frame): boolean
  /** Resolves when the peer has taken what waited at the call, or is gone. */
  writable(): Promise<void>
  /**
   * Sends `last`, half-closes, and reads on until the peer closes too: two seconds at the most, once it has taken the
   * last word. Never a reset that eats the last answer.
   */
  end(last?: Frame): void
}

/** A protocol's state machine on one connection. */
export interface Conversation<Frame> {
  /**
   * Called in order of arrival, without waiting for the one before. The returned promise is a request in flight: it
   * counts against `limits.inflight` and keeps a drain from closing; frames that became one request return the same. A
   * parked poll returns undefined instead.
   * A thrown or rejected Fault ends the connection with `refuse`; anything else costs this connection and is logged.
   */
  receive(frame: Frame): void | Promise<void>
  /** The last frame for a peer that broke the protocol, in the protocol's words; undefined: it has none. */
  refuse(fault: Fault): Frame | undefined
  /** Tell the peer if the protocol can, wake parked polls, start no new delivery. What arrives is still served. */
  goAway(reason: GoAwayReason, elsewhere?: string): void
  /**
   * The connection ends as soon as nothing is in flight: from now on nothing is said that a client would answer with its
   * next request, as far as that can wait for `farewell`.
   */
  leave?(): void
  /** The last frame of a connection that a drain ends. */
  farewell(): Frame | undefined
  /** Deliveries that wait for the client's word. */
  readonly unsettled: number
  /** About once a second: keep-alive, heartbeats. */
  tick?(now: EpochMs): void
  /** Exactly once, after the last frame. */
  closed(): void | Promise<void>
}

export type { Notice }

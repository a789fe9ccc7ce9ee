import type { EpochMs, Message } from '@sluice/core'
import { deliverAtOf, PropertyView } from './properties.ts'

/** A getter cannot be absent, only undefined. */
export type Getters<T> = { readonly [K in keyof T]-?: {} extends Pick<T, K> ? T[K] | undefined : T[K] }

/** A message by its property string, which is parsed when somebody looks. What no such string says is set by whoever makes it. */
export class PackedMessage implements Getters<Message> {
  readonly topic: string
  readonly body: Buffer
  encoding: Message['encoding'] = undefined
  bornAt: Message['bornAt'] = undefined
  bornHost: Message['bornHost'] = undefined
  original: Message['original'] = undefined
  readonly #receivedAt: EpochMs | undefined
  #deliverAt: EpochMs | undefined
  #half: Message['half']
  #text: string | undefined
  #packed: Buffer | undefined
  #parsed: PropertyView | undefined

  /**
   * @param packed the property string; as a text it is well-formed
   * @param receivedAt what DELAY levels and TIMER_* delays count from; absent: `deliverAt` and `half` are as they are set
   */
  constructor(topic: string, body: Buffer, packed: Buffer | string, receivedAt?: EpochMs) {
    this.topic = topic
    this.body = body
    if (typeof packed === 'string') this.#text = packed
    else this.#packed = packed
    this.#receivedAt = receivedAt
  }

  /** Encoding and origin, where the string says them and nothing else did. */
  sayOurs(): void {
    this.encoding ??= this.#view.encoding
    this.original ??= this.#view.original
  }

  /** The property string as it came, whichever costs nothing. */
  get said(): Buffer | string {
    return this.#text ?? this.packed
  }
  get packed(): Buffer {
    return (this.#packed ??= Buffer.from(this.#text as string))
  }
  get #view(): PropertyView {
    return (this.#parsed ??= new PropertyView(this.packed))
  }
  get deliverAt() {
    return this.#receivedAt === undefined ? this.#deliverAt : deliverAtOf(this.#view, this.#receivedAt)
  }
  set deliverAt(at: EpochMs | undefined) {
    this.#deliverAt = at
  }
  get half() {
    return this.#receivedAt === undefined ? this.#half : this.#view.half
  }
  set half(half: Message['half']) {
    this.#half = half
  }
  get properties() {
    return this.#view.properties
  }
  get id() {
    return this.#view.id
  }
  get tag() {
    return this.#view.tag
  }
  get keys() {
    return this.#view.keys
  }
  get group() {
    return this.#view.group
  }
  get priority() {
    return this.#view.priority
  }
  get path() {
    return this.#view.path
  }
  get expiresAt() {
    return this.#view.expiresAt
  }
  get contentType() {
    return this.#view.contentType
  }
  get correlationId() {
    return this.#view.correlationId
  }
  get replyTo() {
    return this.#view.replyTo
  }
  get retain() {
    return this.#view.retain
  }
  get traceparent() {
    return this.#view.traceparent
  }
  get via() {
    return this.#view.via
  }
}

/** The property string of a message that has one, whichever of text and bytes costs nothing. */
export const saidOf = (message: Message): Buffer | string | undefined =>
  message instanceof PackedMessage ? message.said : message.packed

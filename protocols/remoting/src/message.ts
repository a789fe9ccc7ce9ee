import type { EpochMs, Message } from '@sluice/core'
import { deliverAtOf, PropertyView } from '@sluice/remoting'

/** What a send says beside the property string. */
export interface Sent {
  readonly topic: string
  readonly body: Buffer
  /** The property string as it came. */
  readonly packed: Buffer
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly receivedAt: EpochMs
  readonly encoding?: 'zlib' | 'lz4' | 'zstd'
  /** RocketMQ's user flag, where it is not 0. */
  readonly original?: Message['original']
}

/** A message as its producer sent it; its property string is parsed when somebody looks. */
export const sentMessage = (sent: Sent): Message => new SentMessage(sent) as Message

/** A getter cannot be absent, only undefined. */
type Getters<T> = { readonly [K in keyof T]-?: {} extends Pick<T, K> ? T[K] | undefined : T[K] }

class SentMessage implements Getters<Message> {
  readonly topic: string
  readonly body: Buffer
  readonly packed: Buffer
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly #encoding: Sent['encoding']
  readonly #original: Message['original']
  readonly #receivedAt: EpochMs
  readonly #view: PropertyView

  constructor(sent: Sent) {
    this.topic = sent.topic
    this.body = sent.body
    this.packed = sent.packed
    this.bornAt = sent.bornAt
    this.bornHost = sent.bornHost
    this.#encoding = sent.encoding
    this.#original = sent.original
    this.#receivedAt = sent.receivedAt
    this.#view = new PropertyView(sent.packed)
  }

  get encoding() {
    return this.#encoding ?? this.#view.encoding
  }
  get original() {
    return this.#original ?? this.#view.original
  }
  /** DELAY levels and TIMER_* delays count from when the message came. */
  get deliverAt() {
    return deliverAtOf(this.#view, this.#receivedAt)
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
  get half() {
    return this.#view.half
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

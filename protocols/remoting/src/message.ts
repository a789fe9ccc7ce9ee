import type { EpochMs, Message } from '@sluice/core'
import { deliverAtOf, PropertyView } from '@sluice/remoting'

/** What the messages of one send have in common. */
export interface Said {
  readonly topic: string
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly receivedAt: EpochMs
}

export interface Sent {
  readonly body: Buffer
  /** The property string as it came. */
  readonly packed: Buffer
  readonly encoding: Message['encoding'] | undefined
  /** RocketMQ's user flag, where it is not 0. */
  readonly original: Message['original'] | undefined
  /** Whether properties of ours may be among the others. */
  readonly ours: boolean
}

/** A message as its producer sent it; its property string is parsed when somebody looks. */
export const sentMessage = (said: Said, sent: Sent): Message => new SentMessage(said, sent) as Message

/** A getter cannot be absent, only undefined. */
type Getters<T> = { readonly [K in keyof T]-?: {} extends Pick<T, K> ? T[K] | undefined : T[K] }

/** Where this is not, none of our own properties is. */
export const OURS = 'x-mq-'

class SentMessage implements Getters<Message> {
  readonly topic: string
  readonly body: Buffer
  /** The property string as it came. */
  readonly packed: Buffer
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly #encoding: Message['encoding']
  readonly #original: Message['original']
  readonly #receivedAt: EpochMs
  readonly #ours: boolean
  #parsed: PropertyView | undefined

  constructor({ topic, bornAt, bornHost, receivedAt }: Said, { body, packed, encoding, original, ours }: Sent) {
    this.topic = topic
    this.body = body
    this.packed = packed
    this.bornAt = bornAt
    this.bornHost = bornHost
    this.#encoding = encoding
    this.#original = original
    this.#receivedAt = receivedAt
    this.#ours = ours
  }

  get #view(): PropertyView {
    return (this.#parsed ??= new PropertyView(this.packed))
  }

  get encoding() {
    return this.#encoding ?? (this.#ours ? this.#view.encoding : undefined)
  }
  get original() {
    return this.#original ?? (this.#ours ? this.#view.original : undefined)
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

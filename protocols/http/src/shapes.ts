import type { EpochMs, FaultCode, Ms } from '@sluice/core'
import type { Schema } from './schema.ts'

/** Twelve hours: RocketMQ's own bound of an invisible time. */
export const INVISIBLE_MAX: Ms = 43_200_000
/** A year. */
const LATER_MAX: Ms = 366 * 86_400_000
export const RECEIVE_MAX = 32
export const HANDLES_MAX = 256
export const BATCH_MAX = 256
const NAME_MAX = 255
const EPOCH_MAX: EpochMs = 9_999_999_999_999
/** A header line has to hold them. */
const TEXT_MAX = 32_768

const text = (description: string, maxLength = TEXT_MAX): Schema => ({
  type: 'string',
  minLength: 1,
  maxLength,
  description,
})
const time = (description: string): Schema => ({ type: 'integer', minimum: 0, maximum: EPOCH_MAX, description })

export const bodyEncodings = ['utf8', 'base64'] as const
export type BodyEncoding = (typeof bodyEncodings)[number]

/** Fields of a message that go both ways. */
const fields = {
  body: { type: 'string', description: 'text, or base64 where `encoding` says so' },
  encoding: { type: 'string', enum: bodyEncodings, default: 'utf8', description: 'of `body`' },
  contentType: text('media type of the body', NAME_MAX),
  path: text('below the topic, as an MQTT topic has it after its first level', NAME_MAX),
  tag: text('one tag', NAME_MAX),
  keys: { type: 'array', items: text('without blanks', NAME_MAX), maxItems: 64 },
  properties: { type: 'object', additionalProperties: { type: 'string', maxLength: TEXT_MAX }, maxProperties: 256 },
  shardingKey: text('messages of one key keep their order', NAME_MAX),
  priority: { type: 'integer', minimum: 0, maximum: 255, description: '0 lowest' },
  deliverAt: time('ms since the epoch'),
  expiresAt: time('ms since the epoch'),
  correlationId: text('as the producer gave it', TEXT_MAX),
  replyTo: text('a topic, or topic/path', TEXT_MAX),
  retain: { type: 'boolean', description: 'kept for those who subscribe later (MQTT)' },
  bornAt: time('when the producer made it, ms since the epoch'),
  bornHost: text('where the producer was', NAME_MAX),
  traceparent: text('W3C trace context', NAME_MAX),
} as const satisfies Record<string, Schema>

/** One message of `application/vnd.sluice.messages+json`, and what a received one has in common with it. */
export interface MessageFields {
  readonly body?: string
  readonly encoding?: BodyEncoding
  readonly contentType?: string
  readonly path?: string
  readonly tag?: string
  readonly keys?: readonly string[]
  readonly properties?: Readonly<Record<string, string>>
  readonly shardingKey?: string
  readonly priority?: number
  readonly deliverAt?: EpochMs
  readonly expiresAt?: EpochMs
  readonly correlationId?: string
  readonly replyTo?: string
  readonly retain?: boolean
  readonly bornAt?: EpochMs
  readonly bornHost?: string
  readonly traceparent?: string
}

export interface PublishedMessage extends MessageFields {
  readonly id?: string
}

export const publishShape: Schema = {
  type: 'object',
  required: ['messages'],
  properties: {
    messages: {
      type: 'array',
      minItems: 1,
      maxItems: BATCH_MAX,
      items: { type: 'object', properties: { ...fields, id: text('minted when absent', NAME_MAX) } },
    },
  },
}

export interface ReceiveRequest {
  readonly maxMessages?: number
  readonly waitMs?: Ms
  readonly invisibleMs?: Ms
  readonly filter?: { readonly tag?: string; readonly sql?: string }
  readonly ordered?: boolean
  readonly bodyEncoding?: 'auto' | 'base64'
}

export const receiveShape: Schema = {
  type: 'object',
  properties: {
    maxMessages: { type: 'integer', minimum: 1, maximum: RECEIVE_MAX, default: 1 },
    waitMs: {
      type: 'integer',
      minimum: 0,
      maximum: 30_000,
      default: 0,
      description: 'how long to wait for a first one',
    },
    invisibleMs: {
      type: 'integer',
      minimum: 1,
      maximum: INVISIBLE_MAX,
      default: 30_000,
      description: 'until what is not acknowledged comes again',
    },
    filter: {
      type: 'object',
      description: 'one of both',
      properties: { tag: text('a tag, several as `a||b`'), sql: text('SQL-92 over properties') },
    },
    ordered: { type: 'boolean', default: false, description: 'messages of one sharding key one after the other' },
    bodyEncoding: { type: 'string', enum: ['auto', 'base64'], default: 'auto', description: 'base64: every body' },
  },
}

export interface ReceivedMessage extends MessageFields {
  readonly messageId: string
  /** Absent: nothing to settle. */
  readonly receiptHandle?: string
  readonly body: string
  readonly encoding: BodyEncoding
  /** Only where the body could not be inflated. */
  readonly contentEncoding?: string
  readonly attempt: number
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly storedAt: EpochMs
  readonly topic: string
  readonly queueId: number
  readonly offset: number
  readonly via?: string
}

export const receivedShape: Schema = {
  type: 'object',
  properties: {
    messages: {
      type: 'array',
      maxItems: RECEIVE_MAX,
      items: {
        type: 'object',
        required: [
          'messageId',
          'body',
          'encoding',
          'attempt',
          'bornAt',
          'bornHost',
          'storedAt',
          'topic',
          'queueId',
          'offset',
        ],
        properties: {
          messageId: text('of the message'),
          receiptHandle: text('for :ack, :nack, :extend and :dead'),
          ...fields,
          contentEncoding: text('only where the body could not be inflated'),
          attempt: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: '1 at first' },
          storedAt: time('ms since the epoch'),
          topic: text('of the message'),
          queueId: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
          offset: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
          via: text('protocol by which it was published'),
        },
      },
    },
  },
}

export interface SettleRequest {
  readonly receiptHandles: readonly string[]
  readonly afterMs?: Ms
  readonly invisibleMs?: Ms
  readonly reason?: string
}

const handles: Schema = { type: 'array', minItems: 1, maxItems: HANDLES_MAX, items: text('from a receive', 2_048) }

export const settleVerbs = ['ack', 'nack', 'extend', 'dead'] as const
export type SettleVerb = (typeof settleVerbs)[number]

export const settleShapes: Readonly<Record<SettleVerb, Schema>> = {
  ack: { type: 'object', required: ['receiptHandles'], properties: { receiptHandles: handles } },
  nack: {
    type: 'object',
    required: ['receiptHandles'],
    properties: {
      receiptHandles: handles,
      afterMs: { type: 'integer', minimum: 0, maximum: LATER_MAX, description: "absent: the group's back-off" },
    },
  },
  extend: {
    type: 'object',
    required: ['receiptHandles', 'invisibleMs'],
    properties: {
      receiptHandles: handles,
      invisibleMs: { type: 'integer', minimum: 1, maximum: INVISIBLE_MAX, description: 'from now on' },
    },
  },
  dead: {
    type: 'object',
    required: ['receiptHandles'],
    properties: { receiptHandles: handles, reason: text('kept with the message', 1_024) },
  },
}

/** One of a list that was asked for together. */
export interface Result {
  readonly status: number
  readonly code?: FaultCode
  readonly detail?: string
  readonly about?: string
  readonly retryAfterMs?: Ms
  /** Of :extend: it replaces the one that was sent. */
  readonly receiptHandle?: string
  readonly messageId?: string
  readonly queueId?: number
  readonly offset?: number
  readonly durable?: string
  readonly recallHandle?: string
}

const stored = {
  messageId: text('of the message'),
  queueId: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  offset: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  durable: text('only where it is stored less safely than asked'),
  recallHandle: text('only of a message that waits for its time'),
} as const satisfies Record<string, Schema>

export const storedShape: Schema = { type: 'object', required: ['messageId', 'queueId', 'offset'], properties: stored }

export const resultsShape: Schema = {
  type: 'object',
  required: ['results'],
  properties: {
    results: {
      type: 'array',
      items: {
        type: 'object',
        required: ['status'],
        properties: {
          status: { type: 'integer', minimum: 200, maximum: 599 },
          code: text('of the refusal'),
          detail: text('of the refusal'),
          about: text('of the refusal'),
          retryAfterMs: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
          receiptHandle: text('of :extend: the new one'),
          ...stored,
        },
      },
    },
  },
}

export const problemShape: Schema = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'requestId'],
  properties: {
    type: text('urn:sluice:fault:<code>'),
    title: text('fixed for the code'),
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: text('what was wrong'),
    code: text('to switch on'),
    about: text('which part of the request'),
    requestId: text('as in X-Request-Id'),
    retryAfterMs: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  },
}

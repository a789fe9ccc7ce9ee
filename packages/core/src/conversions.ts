import type { Message } from './model.ts'

/**
 * How each field of a message is said on each wire. This table is the only place that knows; the protocols' translate.ts
 * take their names from it, `docs/conversions.md` is printed from it, and losses are counted by it.
 */
export type Column = 'remoting' | 'grpc' | 'http' | 'mqtt5' | 'mqtt3' | 'amqp'
export type Field =
  | 'topic'
  | 'path'
  | 'body'
  | 'id'
  | 'tag'
  | 'keys'
  | 'properties'
  | 'contentType'
  | 'correlationId'
  | 'replyTo'
  | 'group'
  | 'priority'
  | 'deliverAt'
  | 'expiresAt'
  | 'encoding'
  | 'retain'
  | 'bornAt'
  | 'bornHost'
  | 'traceparent'
  | 'original'

/**
 * Names for what a wire has no field of its own for: they stand among its free-form properties (RocketMQ properties,
 * MQTT 5 user properties, AMQP application properties, HTTP headers), in both directions.
 */
export const names = {
  /** Value: the whole MQTT topic, `topic/path`. */
  path: 'mqtt.topic',
  id: 'x-mq-id',
  tag: 'x-mq-tag',
  /** Value: keys joined by a blank. */
  keys: 'x-mq-key',
  contentType: 'x-mq-content-type',
  correlationId: 'x-mq-correlation-id',
  replyTo: 'x-mq-reply-to',
  group: 'x-mq-sharding-key',
  /** Value: decimal, 0 lowest. */
  priority: 'x-mq-priority',
  /** Value: ms since the epoch. */
  deliverAt: 'x-mq-deliver-at',
  /** Value: ms since the epoch. */
  expiresAt: 'x-mq-expires-at',
  /** Value: `true`. */
  retain: 'x-mq-retain',
  /** Value: ms since the epoch. */
  bornAt: 'x-mq-born-at',
  bornHost: 'x-mq-born-host',
  traceparent: 'traceparent',
  /** Value: protocol, a colon, base64. */
  original: 'x-mq-original',
  /** In a stored record only: the protocol it was published by. */
  via: 'x-mq-via',
  /** In a stored record only: what RocketMQ's property text cannot say (empty values, control characters), as base64 of JSON. */
  more: 'x-mq-more',
  /** HTTP only: prefix of one header a user property, its value percent-encoded. */
  property: 'x-mq-property-',
} as const

/** `as`: how it is said. `lost`: why it never travels there. */
export interface Way {
  readonly as: string
  readonly lost?: string
}

const own = (as: string): Way => ({ as })
const free = (field: keyof typeof names): Way => ({ as: `property \`${names[field]}\`` })
const header = (field: keyof typeof names): Way => ({ as: `\`${field}\`, header \`${names[field]}\`` })
const never = (lost: string): Way => ({ as: '–', lost })

const bare = 'MQTT 3.1.1 has nothing but topic and payload'

export const conversions: Readonly<Record<Field, Readonly<Record<Column, Way>>>> = {
  topic: {
    remoting: own('topic'),
    grpc: own('`topic.name`'),
    http: own('path segment `{topic}`'),
    mqtt5: own('first topic level'),
    mqtt3: own('first topic level'),
    amqp: own('address'),
  },
  path: {
    remoting: free('path'),
    grpc: free('path'),
    http: own('`path`, header `x-mq-path`'),
    mqtt5: own('topic levels after the first'),
    mqtt3: own('topic levels after the first'),
    amqp: own('address after the first `/`, property `mqtt.topic`'),
  },
  body: {
    remoting: own('body'),
    grpc: own('`body`'),
    http: own('body, or `body` in base64'),
    mqtt5: own('payload'),
    mqtt3: own('payload'),
    amqp: own('data section; an amqp-value is stored as text or JSON'),
  },
  id: {
    remoting: own('`UNIQ_KEY`'),
    grpc: own('`message_id`'),
    http: header('id'),
    mqtt5: free('id'),
    mqtt3: never(bare),
    amqp: own('`message-id`'),
  },
  tag: {
    remoting: own('`TAGS`'),
    grpc: own('`tag`'),
    http: header('tag'),
    mqtt5: free('tag'),
    mqtt3: never(bare),
    amqp: own('`subject`'),
  },
  keys: {
    remoting: own('`KEYS`'),
    grpc: own('`keys`'),
    http: header('keys'),
    mqtt5: free('keys'),
    mqtt3: never(bare),
    amqp: free('keys'),
  },
  properties: {
    remoting: own('properties'),
    grpc: own('`user_properties`'),
    http: own('`properties`, headers `x-mq-property-*`'),
    mqtt5: own('user properties'),
    mqtt3: never(bare),
    amqp: own('application-properties'),
  },
  contentType: {
    remoting: free('contentType'),
    grpc: free('contentType'),
    http: own('`contentType`, `Content-Type`'),
    mqtt5: own('content type'),
    mqtt3: never(bare),
    amqp: own('`content-type`'),
  },
  correlationId: {
    remoting: free('correlationId'),
    grpc: free('correlationId'),
    http: header('correlationId'),
    mqtt5: own('correlation data'),
    mqtt3: never(bare),
    amqp: own('`correlation-id`'),
  },
  replyTo: {
    remoting: free('replyTo'),
    grpc: free('replyTo'),
    http: header('replyTo'),
    mqtt5: own('response topic'),
    mqtt3: never(bare),
    amqp: own('`reply-to`'),
  },
  group: {
    remoting: own('`__SHARDINGKEY`'),
    grpc: own('`message_group`'),
    http: header('group'),
    mqtt5: free('group'),
    mqtt3: never(bare),
    amqp: own('`group-id`'),
  },
  priority: {
    remoting: own('`_SYS_MSG_PRIORITY_`'),
    grpc: own('`priority`'),
    http: header('priority'),
    mqtt5: free('priority'),
    mqtt3: never(bare),
    amqp: own('header `priority`'),
  },
  deliverAt: {
    remoting: own('`TIMER_DELIVER_MS`'),
    grpc: own('`delivery_timestamp`'),
    http: header('deliverAt'),
    mqtt5: free('deliverAt'),
    mqtt3: never(bare),
    amqp: own('annotation `x-opt-delivery-time`'),
  },
  expiresAt: {
    remoting: free('expiresAt'),
    grpc: free('expiresAt'),
    http: header('expiresAt'),
    mqtt5: own('message expiry interval'),
    mqtt3: never(bare),
    amqp: own('`absolute-expiry-time`, header `ttl`'),
  },
  encoding: {
    remoting: own('system flag'),
    grpc: own('`body_encoding` gzip; else inflated'),
    http: own('inflated'),
    mqtt5: own('inflated'),
    mqtt3: own('inflated'),
    amqp: own('`content-encoding`, when published by AMQP; else inflated'),
  },
  retain: {
    remoting: free('retain'),
    grpc: free('retain'),
    http: header('retain'),
    mqtt5: own('RETAIN'),
    mqtt3: own('RETAIN'),
    amqp: free('retain'),
  },
  bornAt: {
    remoting: own('born timestamp'),
    grpc: own('`born_timestamp`'),
    http: header('bornAt'),
    mqtt5: free('bornAt'),
    mqtt3: never(bare),
    amqp: own('`creation-time`'),
  },
  bornHost: {
    remoting: own('born host'),
    grpc: own('`born_host`'),
    http: header('bornHost'),
    mqtt5: free('bornHost'),
    mqtt3: never(bare),
    amqp: free('bornHost'),
  },
  traceparent: {
    remoting: free('traceparent'),
    grpc: own('`trace_context`'),
    http: own('header `traceparent`'),
    mqtt5: free('traceparent'),
    mqtt3: never(bare),
    amqp: free('traceparent'),
  },
  original: {
    remoting: never('types and repeats of another protocol'),
    grpc: never('types and repeats of another protocol'),
    http: never('types and repeats of another protocol'),
    mqtt5: own('repeated user properties, when published by MQTT'),
    mqtt3: never(bare),
    amqp: own('types of properties and body, when published by AMQP'),
  },
}

const none: readonly Field[] = []
const protocolOf: Readonly<Record<Column, string>> = {
  remoting: 'remoting',
  grpc: 'grpc',
  http: 'http',
  mqtt5: 'mqtt',
  mqtt3: 'mqtt',
  amqp: 'amqp',
}

/** Ids and birth are given by the gateway where a producer's wire has none: such a producer cannot lose them. */
const given: ReadonlySet<Field> = new Set(['id', 'bornAt', 'bornHost'])

/** What MQTT 3.1.1 has no place for, and what of it an MQTT producer can lose. */
const bareFields = (Object.keys(conversions) as Field[]).filter((field) => conversions[field].mqtt3.lost)
const bareAtHome = bareFields.filter((field) => !given.has(field))

/** So long is an `original` that hints at a manner of delivery (MQTT's QoS) and says nothing: nobody misses it elsewhere. */
const HINT_BYTES = 1

const any = (object: object): boolean => {
  for (const _ in object) return true
  return false
}

/** Whether a message says something there. One function each: a field that is named is read at once, one by its name is looked up. */
const present: Readonly<Record<Field, (message: Message) => boolean>> = {
  topic: () => true,
  path: ({ path }) => path !== undefined,
  body: () => true,
  id: ({ id }) => id !== undefined,
  tag: ({ tag }) => tag !== undefined,
  keys: ({ keys }) => keys !== undefined && keys.length > 0,
  properties: ({ properties }) => any(properties),
  contentType: ({ contentType }) => contentType !== undefined,
  correlationId: ({ correlationId }) => correlationId !== undefined,
  replyTo: ({ replyTo }) => replyTo !== undefined,
  group: ({ group }) => group !== undefined,
  priority: ({ priority }) => priority !== undefined,
  deliverAt: ({ deliverAt }) => deliverAt !== undefined,
  expiresAt: ({ expiresAt }) => expiresAt !== undefined,
  encoding: ({ encoding }) => encoding !== undefined,
  retain: ({ retain }) => retain === true,
  bornAt: ({ bornAt }) => bornAt !== undefined,
  bornHost: ({ bornHost }) => bornHost !== undefined,
  traceparent: ({ traceparent }) => traceparent !== undefined,
  original: ({ original }) => original !== undefined && original.bytes.length > HINT_BYTES,
}

/**
 * The fields of this message that this wire cannot say. Usually empty, and then no array is made.
 * A message goes home whole: what only its own protocol understands is lost on every other.
 */
export const losses = (message: Message, column: Column): readonly Field[] => {
  const home = (message.via ?? 'remoting') === protocolOf[column]
  if (column !== 'mqtt3') return !home && present.original(message) ? ['original'] : none
  let lost: Field[] | undefined
  for (const field of home ? bareAtHome : bareFields) if (present[field](message)) (lost ??= []).push(field)
  return lost ?? none
}

/** Whether ids and birth are worth saying as free-form properties: not to the protocol that never gave them. */
export const tellsBirth = (message: Message, column: 'mqtt5' | 'amqp' | 'http'): boolean =>
  (message.via ?? 'remoting') !== protocolOf[column]

/** Property names that an edge takes out of a producer's free-form properties, because they are fields of the model. */
export const reserved: ReadonlySet<string> = new Set<string>(
  Object.entries(names).flatMap(([key, name]) => (key === 'property' ? [] : [name])),
)

/** `topic/path` as MQTT and AMQP write it. */
export const joinPath = (topic: string, path: string | undefined): string =>
  path === undefined ? topic : `${topic}/${path}`

/** The first level is the broker's topic; what follows the first `/` is the path, empty levels included. */
export const splitPath = (full: string): { readonly topic: string; readonly path?: string } => {
  const slash = full.indexOf('/')
  return slash < 0 ? { topic: full } : { topic: full.slice(0, slash), path: full.slice(slash + 1) }
}

/**
 * Free-form properties of a producer taken apart: model fields out, user properties left.
 * Numbers that are none, and a path that is not below the topic, stay user properties. What only a stored record says
 * (`x-mq-via`, `x-mq-more`, `x-mq-original`) is dropped: a producer cannot say it.
 */
export const takeReserved = (
  topic: string,
  free: Readonly<Record<string, string>>,
): { readonly properties: Readonly<Record<string, string>>; readonly fields: Partial<Message> } => {
  let any = false
  for (const name in free) {
    if (reserved.has(name)) {
      any = true
      break
    }
  }
  if (!any) return { properties: free, fields: {} }
  const properties: Record<string, string> = {}
  const fields: Record<string, unknown> = {}
  for (const name in free) {
    const value = free[name] as string
    const taken = takers.get(name)?.(value, topic)
    if (taken === undefined) put(properties, name, value)
    else Object.assign(fields, taken)
  }
  return { properties, fields: fields as Partial<Message> }
}

const number = (field: string) => (value: string) => (/^\d{1,15}$/.test(value) ? { [field]: Number(value) } : undefined)
const text = (field: string) => (value: string) => ({ [field]: value })

const drop = () => ({})

/** A plain assignment of `__proto__` would vanish. */
const put = (record: Record<string, string>, name: string, value: string): void => {
  if (name !== '__proto__') record[name] = value
  else Object.defineProperty(record, name, { value, enumerable: true, configurable: true, writable: true })
}

type Take = (value: string, topic: string) => object | undefined

const takers: ReadonlyMap<string, Take> = new Map<string, Take>(
  Object.entries({
    [names.path]: (value, topic) =>
      value.startsWith(`${topic}/`) ? { path: value.slice(topic.length + 1) } : value === topic ? {} : undefined,
    [names.id]: text('id'),
    [names.tag]: text('tag'),
    [names.keys]: (value) => ({ keys: value.split(' ').filter((key) => key !== '') }),
    [names.contentType]: text('contentType'),
    [names.correlationId]: text('correlationId'),
    [names.replyTo]: text('replyTo'),
    [names.group]: text('group'),
    [names.priority]: number('priority'),
    [names.deliverAt]: number('deliverAt'),
    [names.expiresAt]: number('expiresAt'),
    [names.retain]: (value) => (value === 'true' ? { retain: true } : undefined),
    [names.bornAt]: number('bornAt'),
    [names.bornHost]: text('bornHost'),
    [names.traceparent]: text('traceparent'),
    [names.original]: drop,
    [names.via]: drop,
    [names.more]: drop,
  }),
)

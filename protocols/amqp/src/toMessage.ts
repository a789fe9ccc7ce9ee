import { type EpochMs, type Message, names, takeReserved } from '@sluice/core'
import { type Destination, replyAddress, sendAddress } from './address.ts'
import { type Body, readMessage } from './message.ts'
import { ORIGINAL_MAX, PROTOCOL, packOriginal } from './original.ts'
import type { CompositeOf } from './shapes.ts'
import { asJson, asText, entry, isTagged, type MapValue, numberOf, textOf, type Value } from './types/values.ts'

export const DELIVERY_TIME = 'x-opt-delivery-time'
const DELIVERY_DELAY = 'x-opt-delivery-delay'
/** Priority of a message that says none. [3.2.1] */
const USUAL_PRIORITY = 4
/** What all properties of a stored message together may take, with some room for what a store adds. */
const PROPERTIES_MAX = 31_000

export interface Published {
  readonly message: Message
  /** Its types were too much to keep. */
  readonly lost: boolean
}

type Draft = { -readonly [Field in keyof Message]: Message[Field] }

/**
 * A message as a producer sent it. `to`: the address of its link; undefined: each message names its own.
 * @throws Fault 'malformed' or 'tooLarge' about 'value'; 'invalid' or 'unsupported' about 'address'
 */
export const toMessage = (bytes: Buffer, to: Destination | undefined, now: EpochMs): Published => {
  const { header, annotations, properties, application, body, footer, from } = readMessage(bytes)
  const { topic, path, tag } = to ?? sendAddress(textOf(properties?.to) ?? '')
  const draft: Draft = { topic, body: bytes, properties: {}, via: PROTOCOL }
  /** Whether the model alone can say this message again: its sections, their types, nothing less. */
  let exact = !footer && body.kind === 'data' && body.cuts.length === 2
  draft.body = bodyOf(bytes, body)
  if (application) exact = takeApplication(draft, application) && exact
  if (path !== undefined) draft.path = path
  if (tag !== undefined) draft.tag = tag
  if (header) takeHeader(draft, header, now)
  if (properties) exact = takeProperties(draft, properties) && exact
  if (annotations) exact = takeAnnotations(draft, annotations, now) && exact
  if (exact) return { message: draft, lost: false }
  const cuts = body.kind === 'data' || body.kind === 'value' ? body.cuts : none
  const original = packOriginal(bytes, from, cuts, roomBeside(draft))
  if (original) draft.original = { protocol: PROTOCOL, bytes: original }
  return { message: draft, lost: original === undefined }
}

const none: readonly number[] = []

/** Bytes that may be kept of the original: it is stored as base64 among the properties. */
const roomBeside = ({ properties, correlationId = '', replyTo = '', id = '' }: Message): number => {
  let text = Buffer.byteLength(correlationId) + Buffer.byteLength(replyTo) + Buffer.byteLength(id)
  for (const name in properties) text += Buffer.byteLength(name) + Buffer.byteLength(properties[name] as string) + 2
  return Math.min(ORIGINAL_MAX, ((PROPERTIES_MAX - text) * 3) / 4)
}

// ── Body ──────────────────────────────────────────────────────────────────────────────────────────

const bodyOf = (bytes: Buffer, body: Body): Buffer => {
  switch (body.kind) {
    case 'none':
      return Buffer.alloc(0)
    case 'data':
      return slices(bytes, body.cuts)
    case 'value':
      return body.cuts.length > 0 ? slices(bytes, body.cuts) : Buffer.from(valueText(body.value))
    case 'sequence':
      return Buffer.from(JSON.stringify(body.lists.flat().map(asJson)))
  }
}

const slices = (bytes: Buffer, cuts: readonly number[]): Buffer => {
  if (cuts.length === 2) return bytes.subarray(cuts[0], cuts[1])
  const parts: Buffer[] = []
  for (let index = 0; index < cuts.length; index += 2) parts.push(bytes.subarray(cuts[index], cuts[index + 1]))
  return Buffer.concat(parts)
}

/** Lists, maps and arrays as JSON; everything simple as plain text. */
const valueText = (value: Value): string => {
  const inner = value !== null && isTagged(value) && value.type === 'described' ? value.value : value
  return asText(inner)
}

// ── Sections, each put into the draft; false: something of it cannot be said by the model ───────────

const takeHeader = (draft: Draft, { priority, ttl }: CompositeOf<'header'>, now: EpochMs): void => {
  if (priority !== undefined && priority !== USUAL_PRIORITY) draft.priority = priority
  if (ttl) draft.expiresAt = now + ttl
}

const takeAnnotations = (draft: Draft, given: MapValue, now: EpochMs): boolean => {
  const at = numberOf(entry(given, DELIVERY_TIME))
  const delay = numberOf(entry(given, DELIVERY_DELAY))
  if (at !== undefined && at > 0) draft.deliverAt = at
  else if (delay !== undefined && delay > 0) draft.deliverAt = now + delay
  return given.value.every(([key]) => textOf(key) === DELIVERY_TIME || textOf(key) === DELIVERY_DELAY)
}

const takeApplication = (draft: Draft, { value: entries }: MapValue): boolean => {
  const free: Record<string, string> = {}
  let exact = true
  for (const [key, value] of entries) {
    if (typeof key !== 'string' || typeof value !== 'string' || Object.hasOwn(free, key)) exact = false
    const name = typeof key === 'string' ? key : asText(key)
    const text = typeof value === 'string' ? value : asText(value)
    if (name === '__proto__') Object.defineProperty(free, name, { value: text, enumerable: true, writable: true })
    else free[name] = text
  }
  const { properties, fields } = takeReserved(draft.topic, free)
  draft.properties = properties
  if (properties === free) return exact
  Object.assign(draft, fields)
  return exact && Object.keys(free).every((name) => !fieldNames.has(name) || staysProperty(name, free[name]!, fields))
}

const fieldNames: ReadonlySet<string> = new Set(Object.values(names))

/** Names of model fields that stand among application properties come back there only where that is their place. */
const staysProperty = (name: string, value: string, fields: Partial<Message>): boolean => {
  if (name === names.keys) return value !== '' && fields.keys?.join(' ') === value
  if (name === names.path) return fields.path !== undefined
  return name === names.traceparent || (name === names.retain && fields.retain === true)
}

type Encoding = NonNullable<Message['encoding']>
const encodings: ReadonlySet<string> = new Set<Encoding>(['zlib', 'lz4', 'zstd', 'gzip'])

const takeProperties = (draft: Draft, given: CompositeOf<'properties'>): boolean => {
  const { messageId, correlationId, replyTo, contentType, contentEncoding } = given
  let exact = (given.userId ?? given.to ?? given.groupSequence ?? given.replyToGroupId) === undefined
  if (messageId !== undefined) {
    exact &&= typeof messageId === 'string' && messageId !== ''
    draft.id = asText(messageId)
    if (draft.id === '') delete draft.id
  }
  if (correlationId !== undefined) {
    exact &&= typeof correlationId === 'string'
    draft.correlationId = asText(correlationId)
  }
  if (replyTo !== undefined) {
    const said = asText(replyTo)
    draft.replyTo = replyAddress(said)
    exact &&= typeof replyTo === 'string' && draft.replyTo === said
  }
  if (contentType !== undefined) draft.contentType = contentType
  if (contentEncoding !== undefined) {
    if (encodings.has(contentEncoding)) draft.encoding = contentEncoding as Encoding
    else exact = false
  }
  exact = takeName(draft, 'tag', given.subject) && exact
  exact = takeName(draft, 'group', given.groupId) && exact
  exact = takeTime(draft, 'expiresAt', given.absoluteExpiryTime) && exact
  return takeTime(draft, 'bornAt', given.creationTime) && exact
}

/** An empty name is none. */
const takeName = (draft: Draft, field: 'tag' | 'group', given: string | undefined): boolean => {
  if (given) draft[field] = given
  return given !== ''
}

const takeTime = (draft: Draft, field: 'expiresAt' | 'bornAt', given: number | bigint | undefined): boolean => {
  if (given === undefined) return true
  if (typeof given === 'bigint' || given < 0) return false
  draft[field] = given
  return true
}

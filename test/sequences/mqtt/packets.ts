/** A writer and a reader of MQTT packets that share nothing with the gateway: what is expected is read with them alone. */
export type Version = 4 | 5

export const bytes = (...values: number[]): Buffer => Buffer.from(values)
export const u16 = (value: number): Buffer => bytes(value >> 8, value & 0xff)
export const u32 = (value: number): Buffer =>
  bytes(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)

export const varint = (value: number): Buffer => {
  const out: number[] = []
  let left = value
  do {
    const low = left % 128
    left = Math.floor(left / 128)
    out.push(left > 0 ? low | 0x80 : low)
  } while (left > 0)
  return Buffer.from(out)
}

export const binary = (data: Buffer | string): Buffer => {
  const raw = Buffer.from(data as string)
  return Buffer.concat([u16(raw.length), raw])
}
export const text = binary

export const packet = (first: number, ...body: readonly Buffer[]): Buffer => {
  const whole = Buffer.concat(body)
  return Buffer.concat([bytes(first), varint(whole.length), whole])
}

export const prop = (id: number, value: Buffer): Buffer => Buffer.concat([bytes(id), value])
export const user = (name: string | Buffer, value: string | Buffer): Buffer =>
  prop(0x26, Buffer.concat([text(name), text(value)]))
export const props = (all: readonly Buffer[] = []): Buffer => {
  const whole = Buffer.concat(all)
  return Buffer.concat([varint(whole.length), whole])
}
const only5 = (version: Version, all: readonly Buffer[] | undefined): Buffer => (version === 5 ? props(all) : bytes())

export interface WillParts {
  readonly topic: string | Buffer
  readonly payload?: string | Buffer
  readonly qos?: number
  readonly retain?: boolean
  readonly properties?: readonly Buffer[]
}
export interface ConnectParts {
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly will?: WillParts
  readonly user?: string | Buffer
  readonly password?: string | Buffer
  readonly properties?: readonly Buffer[]
  readonly name?: string | Buffer
  readonly level?: number
  /** Instead of those that follow from the rest. */
  readonly flags?: number
  /** Behind everything else. */
  readonly more?: Buffer
  readonly first?: number
}

export const connect = (version: Version, id: string | Buffer, parts: ConnectParts = {}): Buffer => {
  const { clean = true, keepAlive = 0, will, properties, name = 'MQTT', level = version, more = bytes() } = parts
  const implied =
    (clean ? 2 : 0) |
    (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0) : 0) |
    (parts.password === undefined ? 0 : 0x40) |
    (parts.user === undefined ? 0 : 0x80)
  return packet(
    parts.first ?? 0x10,
    text(name),
    bytes(level, parts.flags ?? implied),
    u16(keepAlive),
    only5(version, properties),
    text(id),
    ...(will ? [only5(version, will.properties), text(will.topic), binary(will.payload ?? 'will')] : []),
    ...(parts.user === undefined ? [] : [text(parts.user)]),
    ...(parts.password === undefined ? [] : [binary(parts.password)]),
    more,
  )
}

export interface PublishParts {
  readonly qos?: number
  readonly dup?: boolean
  readonly retain?: boolean
  readonly id?: number
  readonly payload?: string | Buffer
  readonly properties?: readonly Buffer[]
}

export const publish = (version: Version, topic: string | Buffer, parts: PublishParts = {}): Buffer => {
  const { qos = 0, dup = false, retain = false, id = 1, payload = 'x', properties } = parts
  return packet(
    0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
    text(topic),
    ...(qos > 0 ? [u16(id)] : []),
    only5(version, properties),
    Buffer.from(payload as string),
  )
}

export const acks = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const
export type AckType = keyof typeof acks

/** With a reason or properties only where there are some. */
export const ack = (type: AckType, id: number, reason?: number, properties?: readonly Buffer[]): Buffer =>
  packet(
    acks[type],
    u16(id),
    ...(reason === undefined ? [] : [bytes(reason)]),
    ...(properties === undefined ? [] : [props(properties)]),
  )

export type Filter = readonly [filter: string | Buffer, options: number]
export const subscribe = (
  version: Version,
  filters: readonly Filter[],
  id = 1,
  properties: readonly Buffer[] = [],
): Buffer =>
  packet(
    0x82,
    u16(id),
    only5(version, properties),
    ...filters.flatMap(([filter, options]) => [text(filter), bytes(options)]),
  )
export const unsubscribe = (
  version: Version,
  filters: readonly (string | Buffer)[],
  id = 1,
  properties: readonly Buffer[] = [],
): Buffer => packet(0xa2, u16(id), only5(version, properties), ...filters.map((filter) => text(filter)))

export const pingreq = packet(0xc0)
export const disconnect = (reason?: number, properties?: readonly Buffer[]): Buffer =>
  packet(
    0xe0,
    ...(reason === undefined ? [] : [bytes(reason)]),
    ...(properties === undefined ? [] : [props(properties)]),
  )
export const auth = (reason: number, properties: readonly Buffer[]): Buffer =>
  packet(0xf0, bytes(reason), props(properties))

// ── Reading ───────────────────────────────────────────────────────────────────────────────────

type Value = number | string | Buffer | readonly [string, string]
type Kind = 'byte' | 'u16' | 'u32' | 'varint' | 'text' | 'binary' | 'pair'

/** Every property: its kind, and the packets of a server that may have it. */
const serverProperties: Readonly<Record<number, readonly [kind: Kind, places: string]>> = {
  1: ['byte', 'publish'],
  2: ['u32', 'publish'],
  3: ['text', 'publish'],
  8: ['text', 'publish'],
  9: ['binary', 'publish'],
  11: ['varint', 'publish'],
  17: ['u32', 'connack'],
  18: ['text', 'connack'],
  19: ['u16', 'connack'],
  21: ['text', 'connack auth'],
  22: ['binary', 'connack auth'],
  26: ['text', 'connack'],
  28: ['text', 'connack disconnect'],
  31: ['text', 'connack puback pubrec pubrel pubcomp suback unsuback disconnect auth'],
  33: ['u16', 'connack'],
  34: ['u16', 'connack'],
  35: ['u16', 'publish'],
  36: ['byte', 'connack'],
  37: ['byte', 'connack'],
  38: ['pair', 'connack publish puback pubrec pubrel pubcomp suback unsuback disconnect auth'],
  39: ['u32', 'connack'],
  40: ['byte', 'connack'],
  41: ['byte', 'connack'],
  42: ['byte', 'connack'],
}

/** Reason codes that a server may put into each packet of MQTT 5. */
const reasons: Readonly<Record<string, readonly number[]>> = {
  connack: [
    0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
    0x9d, 0x9f,
  ],
  puback: [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrec: [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrel: [0, 0x92],
  pubcomp: [0, 0x92],
  suback: [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  unsuback: [0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
  disconnect: [
    0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
  auth: [0, 0x18],
}
/** Of 3.1.1. */
const codes4: Readonly<Record<string, readonly number[]>> = { connack: [0, 1, 2, 3, 4, 5], suback: [0, 1, 2, 0x80] }

const names: Readonly<Record<number, string>> = {
  2: 'connack',
  3: 'publish',
  4: 'puback',
  5: 'pubrec',
  6: 'pubrel',
  7: 'pubcomp',
  9: 'suback',
  11: 'unsuback',
  13: 'pingresp',
  14: 'disconnect',
  15: 'auth',
}

export interface Packet {
  readonly type: string
  readonly size: number
  readonly id?: number
  readonly reason?: number
  readonly codes?: readonly number[]
  readonly present?: boolean
  readonly topic?: string
  readonly payload?: string
  readonly qos?: number
  readonly dup?: boolean
  readonly retain?: boolean
  /** All values of each, in order. */
  readonly properties: ReadonlyMap<number, readonly Value[]>
}

class Cursor {
  readonly #bytes: Buffer
  #at = 0
  constructor(of: Buffer) {
    this.#bytes = of
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  take(length: number): Buffer {
    if (length > this.left) throw new Error('a packet of the server ends too early')
    return this.#bytes.subarray(this.#at, (this.#at += length))
  }
  number(length: number): number {
    return this.take(length).readUIntBE(0, length)
  }
  varint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.number(1)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  text(): string {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.take(this.number(2)))
  }
  value(kind: Kind): Value {
    switch (kind) {
      case 'byte':
        return this.number(1)
      case 'u16':
        return this.number(2)
      case 'u32':
        return this.number(4)
      case 'varint':
        return this.varint()
      case 'text':
        return this.text()
      case 'binary':
        return Buffer.from(this.take(this.number(2)))
      case 'pair':
        return [this.text(), this.text()]
    }
  }
  properties(type: string): Map<number, Value[]> {
    const inner = new Cursor(this.take(this.varint()))
    const found = new Map<number, Value[]>()
    while (inner.left > 0) {
      const id = inner.number(1)
      const [kind, places] = serverProperties[id] ?? ['byte', '']
      if (!places.split(' ').includes(type)) throw new Error(`the server put property ${id} into ${type}`)
      const values = found.get(id) ?? []
      if (values.length > 0 && kind !== 'pair' && id !== 0x0b) throw new Error(`the server repeats property ${id}`)
      found.set(id, [...values, inner.value(kind)])
    }
    return found
  }
}

/** The first packet, or undefined while it is not complete. @throws Error for what no server may send */
export const read = (from: Buffer, version: Version): Packet | undefined => {
  let at = 1
  let remaining = 0
  for (let scale = 1; ; scale *= 128) {
    const byte = from[at++]
    if (byte === undefined) return undefined
    remaining += (byte & 0x7f) * scale
    if (byte < 0x80) break
    if (at > 4) throw new Error('the server wrote a length of five bytes')
  }
  if (from.length < at + remaining) return undefined
  return readBody(from[0]!, from.subarray(at, at + remaining), at + remaining, version)
}

const none: ReadonlyMap<number, readonly Value[]> = new Map()

const readBody = (first: number, body: Buffer, size: number, version: Version): Packet => {
  const type = names[first >> 4]
  const flags = first & 15
  if (type === undefined) throw new Error(`the server sent 0x${first.toString(16)}`)
  if (version === 4 && (type === 'disconnect' || type === 'auth')) throw new Error(`the server sent ${type} to 3.1.1`)
  if (type !== 'publish' && flags !== (type === 'pubrel' ? 2 : 0)) throw new Error(`flags ${flags} of ${type}`)
  const cursor = new Cursor(body)
  const packet = { ...readFields(type, flags, cursor, version), size }
  if (cursor.left > 0) throw new Error(`${cursor.left} bytes behind ${type}`)
  const allowed = (version === 5 ? reasons : codes4)[type]
  for (const code of [...(packet.codes ?? []), ...(packet.reason === undefined ? [] : [packet.reason])]) {
    if (allowed && !allowed.includes(code)) throw new Error(`${type} with the code 0x${code.toString(16)}`)
  }
  return packet
}

const readFields = (type: string, flags: number, cursor: Cursor, version: Version): Omit<Packet, 'size'> => {
  const properties = () => (version === 5 && cursor.left > 0 ? cursor.properties(type) : none)
  switch (type) {
    case 'connack': {
      const present = cursor.number(1)
      if (present > 1) throw new Error(`CONNACK flags ${present}`)
      return { type, present: present === 1, reason: cursor.number(1), properties: properties() }
    }
    case 'publish': {
      const topic = cursor.text()
      const qos = (flags >> 1) & 3
      if (qos === 3) throw new Error('the server published with QoS 3')
      const id = qos > 0 ? cursor.number(2) : undefined
      if (id === 0) throw new Error('the server used packet id 0')
      const found = properties()
      const payload = cursor.take(cursor.left).toString()
      const rest = { topic, qos, dup: flags > 7, retain: (flags & 1) === 1, payload, properties: found }
      return { type, ...rest, ...(id !== undefined && { id }) }
    }
    case 'suback':
    case 'unsuback': {
      const id = cursor.number(2)
      const found = properties()
      return { type, id, properties: found, codes: [...cursor.take(cursor.left)] }
    }
    case 'pingresp':
      return { type, properties: none }
    case 'disconnect':
    case 'auth':
      return { type, reason: cursor.left > 0 ? cursor.number(1) : 0, properties: properties() }
    default:
      return { type, id: cursor.number(2), reason: cursor.left > 0 ? cursor.number(1) : 0, properties: properties() }
  }
}

import type { Delivered, EpochMs, Field, StoredMessage } from '@sluice/core'
import type { Alias } from './aliases.ts'
import { encode, sizeOf } from './encode.ts'
import type { Encoded, Publish, QoS, Version } from './packets.ts'
import { type Outgoing, secondsLeft, type Told, tell, toPublish } from './translate.ts'

/** Most shapes that are kept of a message; further readers get packets of their own. */
export const SHAPES_MAX = 8

/** A PUBLISH in bytes, the same for every reader of its shape but for the packet id. */
export interface Printed extends Encoded {
  readonly qos: QoS
  /** The packet id that stands in it; 0: none. */
  readonly id: number
  readonly size: number
  readonly lost: readonly Field[]
}

export interface Wanted {
  readonly version: Version
  /** MQTT 5. */
  readonly alias?: Alias | undefined
}

/** What a PUBLISH of a message depends on beside it: nearly all have one, so that it is its own entry of their list. */
class Shape implements Printed {
  readonly cmd = 'encoded'
  readonly version: Version
  readonly alias: number | undefined
  /** {@link flagsOf} */
  readonly flags: number
  /** Seconds left; 0: it does not expire, or has. */
  readonly expiry: number
  readonly notes: Delivered['notes']
  readonly qos: QoS
  readonly id: number
  readonly bytes: readonly Buffer[]
  readonly size: number
  readonly lost: readonly Field[]
  next: Shape | undefined

  constructor(
    version: Version,
    alias: Alias | undefined,
    flags: number,
    expiry: number,
    notes: Delivered['notes'],
    { qos, messageId = 0 }: Publish,
    bytes: readonly Buffer[],
    lost: readonly Field[],
  ) {
    this.version = version
    this.alias = alias?.number
    this.flags = flags
    this.expiry = expiry
    this.notes = notes
    this.qos = qos
    this.id = messageId
    this.bytes = bytes
    this.size = sizeOf(bytes)
    this.lost = lost
  }
}

class Sheet implements Told {
  readonly extras: Told['extras']
  readonly topic: string | undefined
  readonly expiresAt: EpochMs | undefined
  shapes: Shape | undefined
  count = 0

  constructor(message: StoredMessage) {
    const { extras, topic } = tell(message)
    this.extras = extras
    this.topic = topic
    this.expiresAt = message.expiresAt
  }
}

/**
 * One message goes to many sessions: what they get differs by version, QoS, flags, subscription identifiers and alias
 * only. The bytes live as long as the message that the broker gives to all of them: they hang on it, since a WeakMap of
 * every message that passes costs the collector more than all else here.
 */
export class Encodings {
  readonly #sheetOf = Symbol('sheet')
  /** Packets encoded so far. */
  count = 0

  /** The topic name of a delivery; undefined: no PUBLISH can say it. */
  topicOf(message: StoredMessage): string | undefined {
    return this.#sheet(message).topic
  }

  print(
    delivered: Delivered,
    { version, alias }: Wanted,
    now: EpochMs,
  ): Printed | Exclude<Outgoing, { publish: Publish }> {
    const sheet = this.#sheet(delivered.message)
    const { expiresAt } = sheet
    const flags = flagsOf(delivered, alias)
    const expiry = expiresAt === undefined ? 0 : Math.max(0, secondsLeft(expiresAt, now))
    const { notes } = delivered
    for (let shape = sheet.shapes; shape; shape = shape.next) {
      if (shape.version === version && shape.flags === flags && shape.expiry === expiry && same(shape.notes, notes))
        if (shape.alias === alias?.number) return shape
    }
    const outgoing = toPublish(delivered, version, now, sheet)
    if ('skipped' in outgoing) return outgoing
    const { publish, lost } = outgoing
    this.count++
    const bytes = encode(alias ? withAlias(publish, alias) : publish, version)
    const shape = new Shape(version, alias, flags, expiry, notes, publish, bytes, lost)
    if (sheet.count < SHAPES_MAX) {
      shape.next = sheet.shapes
      sheet.shapes = shape
      sheet.count++
    }
    return shape
  }

  #sheet(message: StoredMessage): Sheet {
    const marked = message as StoredMessage & { [sheetOf: symbol]: Sheet | undefined }
    return (marked[this.#sheetOf] ??= new Sheet(message))
  }
}

/** Everything beside message, version, alias, expiry and notes that a packet depends on. */
const flagsOf = ({ attempt, receipt, retained }: Delivered, alias: Alias | undefined): number =>
  (attempt > 1 ? 1 : 0) | (receipt?.of === 'inbox' ? 2 : 0) | (retained ? 4 : 0) | (alias?.known ? 8 : 0)

/** Notes of one binding are one list. */
const same = (some: Delivered['notes'], others: Delivered['notes']): boolean => {
  if (some === others) return true
  if (some?.length !== others?.length) return false
  return some!.every((note, at) => note === others![at])
}

/** MQTT.js forgets what an alias stands for until PUBREL: QoS 2 has the topic as well, which says the same once more. */
const withAlias = (publish: Publish, { number, known }: Alias): Publish => ({
  ...publish,
  topic: known && publish.qos < 2 ? '' : publish.topic,
  properties: { ...publish.properties, topicAlias: number },
})

/** The packet under this id. u8 · length of 1 to 4 bytes · topic u16 + bytes · packet id u16 · … */
export const withId = (bytes: readonly Buffer[], id: number): readonly Buffer[] => {
  const first = bytes[0]!
  const head = Buffer.allocUnsafe(first.length)
  first.copy(head)
  let at = 1
  while (head[at++]! & 0x80);
  head.writeUInt16BE(id, at + 2 + head.readUInt16BE(at))
  return bytes.length === 1 ? [head] : [head, ...bytes.slice(1)]
}

import type { Delivered, EpochMs, Field, StoredMessage } from '@sluice/core'
import type { Alias } from './aliases.ts'
import { encode, sizeOf } from './encode.ts'
import type { Publish, QoS, Version } from './packets.ts'
import { type Outgoing, secondsLeft, toPublish, topicOf } from './translate.ts'

/** Most shapes that are kept of a message; further readers get packets of their own. */
export const SHAPES_MAX = 8

/** A PUBLISH in bytes, the same for every reader of its shape but for the packet id. */
export interface Printed {
  readonly qos: QoS
  readonly bytes: readonly Buffer[]
  readonly size: number
  readonly lost: readonly Field[]
}

export interface Wanted {
  readonly version: Version
  /** MQTT 5. */
  readonly alias?: Alias | undefined
}

interface Sheet {
  readonly topic: string | undefined
  readonly shapes: Map<string, Printed>
}

/**
 * One message goes to many sessions: what they get differs by version, QoS, flags, subscription identifiers and alias
 * only. The bytes live as long as the message that the broker gives to all of them.
 */
export class Encodings {
  readonly #sheets = new WeakMap<StoredMessage, Sheet>()
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
    const { shapes } = this.#sheet(delivered.message)
    const shape = shapeOf(delivered, version, alias, now)
    const known = shapes.get(shape)
    if (known) return known
    const outgoing = toPublish(delivered, version, now)
    if ('skipped' in outgoing) return outgoing
    const { publish, lost } = outgoing
    this.count++
    const bytes = encode(alias ? withAlias(publish, alias) : publish, version)
    const printed = { qos: publish.qos, bytes, size: sizeOf(bytes), lost }
    if (shapes.size < SHAPES_MAX) shapes.set(shape, printed)
    return printed
  }

  #sheet(message: StoredMessage): Sheet {
    let sheet = this.#sheets.get(message)
    if (!sheet) this.#sheets.set(message, (sheet = { topic: topicOf(message), shapes: new Map() }))
    return sheet
  }
}

/** Everything beside the message that a packet depends on, and whether it is due at all. */
const shapeOf = (delivered: Delivered, version: Version, alias: Alias | undefined, now: EpochMs): string => {
  const { message, attempt, receipt, retained, notes } = delivered
  const { expiresAt } = message
  const flags = (attempt > 1 ? 1 : 0) | (receipt?.of === 'inbox' ? 2 : 0) | (retained ? 4 : 0) | (alias?.known ? 8 : 0)
  const expiry = expiresAt === undefined ? '' : secondsLeft(expiresAt, now)
  return `${version} ${flags} ${alias?.number ?? ''} ${expiry} ${notes?.join() ?? ''}`
}

/** MQTT.js forgets what an alias stands for until PUBREL: QoS 2 has the topic as well, which says the same once more. */
const withAlias = (publish: Publish, { number, known }: Alias): Publish => ({
  ...publish,
  topic: known && publish.qos < 2 ? '' : publish.topic,
  properties: { ...publish.properties, topicAlias: number },
})

/** The packet under this id. u8 · length of 1 to 4 bytes · topic u16 + bytes · packet id u16 · … */
export const withId = (bytes: readonly Buffer[], id: number): readonly Buffer[] => {
  const head = Buffer.from(bytes[0]!)
  let at = 1
  while (head[at++]! & 0x80);
  head.writeUInt16BE(id, at + 2 + head.readUInt16BE(at))
  return bytes.length === 1 ? [head] : [head, ...bytes.slice(1)]
}

import type { Message } from '@sluice/core'
import type { QoS, UserProperty } from './packets.ts'

/** What only MQTT understands of a message. */
export interface Extras {
  /** As published. */
  readonly qos: QoS
  /** The first topic level, where the broker's topic is its hash. */
  readonly level?: string
  /** All user properties, where a record would lose their order or repeats. */
  readonly user?: readonly UserProperty[]
  /** The payload is text, says the publisher. */
  readonly text?: true
}

/** What a message of another protocol may ask for, and one of ours that says nothing. */
const FOREIGN_QOS: QoS = 2
const USUAL_QOS: QoS = 1

/**
 * `Message.original`: a digit for the QoS, then JSON {"l": level, "u": [[name, value], …], "t": 1} if there is more.
 * Nothing at all for QoS 1 without more.
 */
export const writeExtras = ({ qos, level, user, text }: Extras): Message['original'] => {
  const more = level !== undefined || user !== undefined || text !== undefined
  if (!more) return plain[qos]
  const rest = JSON.stringify({ l: level, u: user, t: text && 1 })
  return { protocol: 'mqtt', bytes: Buffer.from(`${qos}${rest}`) }
}

const digit = (qos: QoS): Message['original'] => ({ protocol: 'mqtt', bytes: Buffer.from(String(qos)) })
const plain: Readonly<Record<QoS, Message['original']>> = { 0: digit(0), [USUAL_QOS]: undefined, 2: digit(2) }

const bare: Readonly<Record<QoS, Extras>> = { 0: { qos: 0 }, 1: { qos: 1 }, 2: { qos: 2 } }

/** A stranger may have written it: what cannot be is taken as absent. */
export const readExtras = ({ original, via }: Message): Extras => {
  if (original?.protocol !== 'mqtt') return bare[via === 'mqtt' ? USUAL_QOS : FOREIGN_QOS]
  const { bytes } = original
  const digit = (bytes[0] ?? 0) - 0x30
  const qos = digit === 0 || digit === 1 ? digit : FOREIGN_QOS
  if (bytes.length < 2) return bare[qos]
  try {
    const { l, u, t } = JSON.parse(bytes.toString('utf8', 1)) as { l?: unknown; u?: unknown; t?: unknown }
    return {
      qos,
      ...(typeof l === 'string' && { level: l }),
      ...(isPairs(u) && { user: u }),
      ...(t === 1 && { text: true }),
    }
  } catch {
    return { qos }
  }
}

const isPairs = (value: unknown): value is readonly UserProperty[] =>
  Array.isArray(value) &&
  value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string'))

/**
 * Whether a record would give these back as they are: names once each, none of them looking like a number (JavaScript
 * puts those first) or like a name of RocketMQ's, no empty values and control characters (they stand apart).
 */
export const isPlain = (user: readonly UserProperty[]): boolean => {
  const names = new Set<string>()
  for (const [name, value] of user) {
    if (names.has(name)) return false
    names.add(name)
    if (user.length > 1 && (!/^[a-z]/.test(name) || value === '' || isControlled(name) || isControlled(value)))
      return false
  }
  return true
}

const isControlled = (text: string): boolean => text.includes('\x01') || text.includes('\x02')

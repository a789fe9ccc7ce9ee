import { type Binding, Fault } from '@sluice/core'
import type { QoS, Subscription } from './packets.ts'
import { isOpen, readShare, toPattern } from './topics.ts'

/** What the subscriber said about a filter, carried by the binding and back by each delivery. */
export interface Note {
  readonly qos: QoS
  /** Retain As Published. */
  readonly rap: boolean
  /** The filter begins with a wildcard. */
  readonly open: boolean
  /** Subscription identifier. */
  readonly id?: number
}

/** QoS digit · `r` retain as published · `w` begins with a wildcard · `:` identifier: `1`, `2r`, `0w:7` */
export const writeNote = ({ qos, rap, open, id }: Note): string =>
  `${qos}${rap ? 'r' : ''}${open ? 'w' : ''}${id === undefined ? '' : `:${id}`}`

/** Nearly every delivery carries one of a few notes. */
const notes = new Map<string, Note>()
const NOTES_MAX = 1_024

/** Of a note that is none of ours: QoS 2 and nothing else. */
export const readNote = (note: string): Note => {
  const known = notes.get(note)
  if (known) return known
  if (notes.size >= NOTES_MAX) notes.clear()
  const read = noteOf(note)
  if (note.length <= NOTE_LENGTH_MAX) notes.set(note, read)
  return read
}

const silent: readonly Note[] = []
let lately: readonly string[] | undefined
let latelyRead = silent

/** Of a delivery. Those of one binding are one list, which hundreds of deliveries have one after the other. */
export const readNotes = (list: readonly string[] | undefined): readonly Note[] => {
  if (list === undefined) return silent
  if (list === lately) return latelyRead
  latelyRead = list.map(readNote)
  lately = list
  return latelyRead
}

const NOTE_LENGTH_MAX = 16
const noteOf = (note: string): Note => {
  const found = /^([012])(r?)(w?)(?::(\d{1,9}))?$/.exec(note)
  if (!found) return { qos: 2, rap: false, open: false }
  const [, qos, rap, open, id] = found
  return {
    qos: Number(qos) as QoS,
    rap: rap !== '',
    open: open !== '',
    ...(id !== undefined && { id: Number(id) }),
  }
}

const RETAINED = ['send', 'ifNew', 'skip'] as const

/**
 * A filter as the broker binds it.
 * @throws Fault 'invalid' about 'pattern', 'unsupported' about 'share'
 */
export const toBinding = (
  { topic, qos, nl, rap = false, rh = 0 }: Subscription,
  id: number | undefined,
  shares: boolean,
): Binding => {
  const { share, filter } = readShare(topic)
  if (share !== undefined && !shares) {
    throw new Fault('unsupported', 'shared subscriptions are not served', { about: 'share' })
  }
  const pattern = toPattern(filter)
  return {
    pattern,
    ...(share !== undefined && { share }),
    ...(nl && { noLocal: true }),
    // [MQTT-4.8.2] nothing retained is sent for a shared one
    retained: share === undefined ? (RETAINED[rh] ?? 'skip') : 'skip',
    note: writeNote({ qos, rap, open: isOpen(pattern), ...(id !== undefined && { id }) }),
  }
}

/** What UNSUBSCRIBE takes away; compared as it is written [MQTT-3.10.4-1]. @throws as {@link toBinding} */
export const toUnbinding = (topic: string): { readonly pattern: string; readonly share?: string } => {
  const { share, filter } = readShare(topic)
  return { pattern: toPattern(filter), ...(share !== undefined && { share }) }
}

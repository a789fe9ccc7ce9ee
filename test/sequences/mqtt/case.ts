import type { ConnectParts, Packet, Version } from './packets.ts'
import { type AckType, ack, connect } from './packets.ts'
import type { Play } from './play.ts'

/** One thing that is sent, awaited or done. */
export type Step = (play: Play) => void | Promise<void>

/** A sequence and what must come of it. */
export interface Case {
  /** Statements of the version's standard without their `MQTT-`. */
  readonly ids: readonly string[]
  readonly version: Version
  /** 'negative': a client breaks the rule. */
  readonly kind: 'positive' | 'negative'
  /** With its version the name of the test. */
  readonly name: string
  /** `n`: a word of its own for client ids and topics. */
  readonly steps: (n: string) => readonly Step[]
  /** Which of the gateways; default the first. */
  readonly at?: 'plain' | 'bare' | 'web'
}

/** What a packet has to be; what is not named does not matter. */
export interface Wanted {
  readonly type: string
  readonly id?: number
  readonly reason?: number | readonly number[]
  readonly codes?: readonly number[]
  readonly present?: boolean
  readonly topic?: string
  readonly payload?: string
  readonly qos?: number
  readonly dup?: boolean
  readonly retain?: boolean
  /** Property: all its values; empty: not there; a function: of its first value. */
  readonly properties?: Readonly<Record<number, readonly unknown[] | ((value: unknown) => boolean)>>
  /** Bytes at most. */
  readonly within?: number
}

export const versions: readonly Version[] = [4, 5]
/** The same for 3.1.1 and 5.0. */
export const both = (make: (version: Version) => readonly Case[]): readonly Case[] => versions.flatMap(make)

export const send =
  (who: string, ...packets: readonly Buffer[]): Step =>
  (play) =>
    play.client(who).send(...packets)
/** The next packet. */
export const get =
  (who: string, wanted: Wanted): Step =>
  (play) =>
    play.client(who).get(wanted)
/** The next packets, in any order. */
export const gather =
  (who: string, ...wanted: readonly Wanted[]): Step =>
  (play) =>
    play.client(who).gather(wanted)
/** Passes over what others cause. */
export const find =
  (who: string, wanted: Wanted): Step =>
  (play) =>
    play.client(who).find(wanted)
/** The connection is lost. */
export const cut =
  (who: string): Step =>
  (play) =>
    play.client(who).cut()
export const wait =
  (ms: number): Step =>
  () =>
    new Promise((resolve) => setTimeout(resolve, ms))
/** Nothing but the end of the connection. */
export const closed =
  (who: string): Step =>
  (play) =>
    play.client(who).closed()
/** The end: with MQTT 5 behind a DISCONNECT with one of the codes, with 3.1.1 without a word. */
export const dismissed =
  (who: string, codes: readonly number[]): Step =>
  async (play) => {
    const client = play.client(who)
    if (play.version === 5) await client.get({ type: 'disconnect', reason: codes, properties: { 17: [] } })
    await client.closed()
  }
/** A CONNECT that is refused: MQTT 5 may be told why, 3.1.1 is told nothing. */
export const refused =
  (who: string, codes: readonly number[]): Step =>
  (play) =>
    play.client(who).refused(play.version === 5 ? codes : [])
/** Answers the last PUBLISH, or another by its place from the end. */
export const answer =
  (who: string, type: AckType, reason?: number, back = 0): Step =>
  (play) => {
    const client = play.client(who)
    client.send(ack(type, client.published(back).id!, reason))
  }
/** What the last PUBLISH had as its id, an answer has too. */
export const getFor =
  (who: string, type: AckType, reason: number | readonly number[] = 0): Step =>
  (play) =>
    play.client(who).get({ type, id: play.client(who).published(0).id!, reason })
/** The next is the last PUBLISH again: same id, DUP, the same content. */
export const again =
  (who: string, back = 0): Step =>
  (play) => {
    const { id, topic, payload, qos } = play.client(who).published(back) as Required<Packet>
    return play.client(who).get({ type: 'publish', id, topic, payload, qos, dup: true })
  }
/** On a new connection, with the version of the case. */
export const join =
  (who: string, id: string, parts: ConnectParts = {}, wanted: Partial<Wanted> = {}): Step =>
  async (play) => {
    const client = play.renew(who)
    client.send(connect(play.version, id, parts))
    await client.get({ type: 'connack', reason: 0, ...wanted })
  }
export const asVersion =
  (version: Version, step: Step): Step =>
  (play) =>
    step(play.as(version))

/** Everything so far has been worked on. */
export const sync =
  (who: string): Step =>
  async (play) => {
    play.client(who).send(Buffer.of(0xc0, 0))
    await play.client(who).get({ type: 'pingresp' })
  }

/** One packet that ends a good connection. */
export const breaks = (
  version: Version,
  ids: readonly string[],
  name: string,
  bytes: (n: string) => Buffer | readonly Buffer[],
  codes: readonly number[] = [0x81, 0x82],
): Case => ({
  ids,
  version,
  kind: 'negative',
  name,
  steps: (n) => {
    const packets = bytes(n)
    return [join('a', n), send('a', ...(Buffer.isBuffer(packets) ? [packets] : packets)), dismissed('a', codes)]
  },
})

/** A CONNECT that does not get in. */
export const rejects = (
  version: Version,
  ids: readonly string[],
  name: string,
  bytes: (n: string) => Buffer,
  codes: readonly number[] = [0x81, 0x82],
): Case => ({ ids, version, kind: 'negative', name, steps: (n) => [send('a', bytes(n)), refused('a', codes)] })

export const works = (
  version: Version,
  ids: readonly string[],
  name: string,
  steps: (n: string) => readonly Step[],
): Case => ({ ids, version, kind: 'positive', name, steps })
/** A rule is broken, and what follows is more than the end of the connection. */
export const fails = (
  version: Version,
  ids: readonly string[],
  name: string,
  steps: (n: string) => readonly Step[],
): Case => ({ ids, version, kind: 'negative', name, steps })

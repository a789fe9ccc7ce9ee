import { type Codec, type Decoder, Fault, type Limits } from '@sluice/core'
import mqtt from 'mqtt-packet'
import { checkHeader, checkPacket, readLevel, types } from './checks.ts'
import { malformed } from './cursor.ts'
import { encode } from './encode.ts'
import { Framing } from './framing.ts'
import type { Frame, Inbound, Outbound, UserProperty, Version } from './packets.ts'

/** The longest CONNECT: six fields of 64 KiB, headers included. */
export const CONNECT_BYTES_MAX = 6 * 65_536

/** What mqtt-packet makes of a packet, still without the order of its user properties. */
interface Parsed {
  properties?: { userProperties?: unknown }
  will?: { properties?: { userProperties?: unknown } }
}

/**
 * One connection's bytes. The version is learnt from CONNECT and decides what the answers look like; a client whose
 * version is not known, or has no word for an answer, is sent nothing.
 */
export class MqttCodec implements Codec<Frame> {
  readonly #limits: Limits
  #version: Version | undefined

  constructor(limits: Limits) {
    this.#limits = limits
  }

  decoder(): Decoder<Frame> {
    const framing = new Framing()
    const parse = createParse()
    const max = () => Math.min(this.#limits.frameBytes, this.#version === undefined ? CONNECT_BYTES_MAX : Infinity)
    const opening = (first: number) => checkHeader(first, this.#version)
    return {
      decode: (chunk, emit) =>
        framing.cut(chunk, max, opening, (bytes, header) => {
          const first = bytes[0]!
          const body = bytes.subarray(header)
          const version = (this.#version ??= this.#learn(first, body))
          const { user, willUser } = checkPacket(first, body, version)
          const packet = parse(bytes)
          emit(ordered(packet, user, willUser))
        }),
      get buffered() {
        return framing.buffered
      },
    }
  }

  encode(frame: Frame): readonly Buffer[] {
    return this.#version === undefined ? [] : encode(frame as Outbound, this.#version)
  }

  /** @throws Fault 'unsupported' about 'version'; the answer to it goes out in the words of the nearest version */
  #learn(first: number, body: Buffer): Version {
    if (first >> 4 !== types.connect) throw malformed('the first packet is not CONNECT')
    const { name, level } = readLevel(body)
    if (name === 'MQTT' && (level === 4 || level === 5)) return level
    this.#version = level > 5 && level < 0x80 ? 5 : 4
    throw new Fault('unsupported', `protocol level ${level} of ${name}`, { about: 'version' })
  }
}

/** One parser a connection, given whole packets only. @throws Fault 'malformed' */
const createParse = (): ((bytes: Buffer) => Parsed) => {
  const parser = mqtt.parser()
  let packet: Parsed | undefined
  let error: unknown
  parser.on('packet', (parsed) => {
    packet = parsed as Parsed
  })
  parser.on('error', (problem) => {
    error = problem
  })
  return (bytes) => {
    packet = undefined
    const left = parser.parse(bytes)
    if (error !== undefined) throw malformed(error instanceof Error ? error.message : 'not a packet')
    if (packet === undefined || left > 0) throw malformed('not one packet')
    return packet
  }
}

const ordered = (
  packet: Parsed,
  user: readonly UserProperty[] | undefined,
  willUser: readonly UserProperty[] | undefined,
): Inbound => {
  if (user) packet.properties!.userProperties = user
  if (willUser) packet.will!.properties!.userProperties = willUser
  // checks.ts has seen to it that the fields are those of the type, and the right ones for a client.
  return packet as unknown as Inbound
}

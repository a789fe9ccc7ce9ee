import { type Codec, type Decoder, Fault, type Limits } from '@sluice/core'
import mqtt from 'mqtt-packet'
import { checkHeader, checkPacket, readLevel, types } from './checks.ts'
import { malformed } from './cursor.ts'
import { encode } from './encode.ts'
import { type Cutting, Framing } from './framing.ts'
import type { Frame, Inbound, UserProperty, Version } from './packets.ts'
import { readPlain } from './plain.ts'

/** The longest CONNECT: six fields of 64 KiB, headers included. */
export const CONNECT_BYTES_MAX = 6 * 65_536

/** What mqtt-packet makes of a packet, still without the order of its user properties. */
interface Parsed {
  properties?: { userProperties?: unknown }
  will?: { properties?: { userProperties?: unknown } }
}

export const createCodec = (limits: Limits): Codec<Frame> => ({
  decoder: () => new MqttDecoder(limits),
  encode(frame) {
    if (!('packet' in frame)) throw new Error(`${frame.cmd} is a packet of a client`)
    return encode(frame.packet, frame.version)
  },
})

const ignore = () => undefined

/** One client's packets. The version is learnt from its CONNECT. */
class MqttDecoder implements Decoder<Frame>, Cutting {
  readonly #framing = new Framing()
  readonly #limits: Limits
  #version: Version | undefined
  #emit: (frame: Frame) => void = ignore

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get buffered(): number {
    return this.#framing.buffered
  }

  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    this.#emit = emit
    this.#framing.cut(chunk, this)
    this.#emit = ignore // an idle client keeps nothing of whom it spoke to
  }

  max(): number {
    return this.#version === undefined ? Math.min(this.#limits.frameBytes, CONNECT_BYTES_MAX) : this.#limits.frameBytes
  }

  opening(first: number): void {
    checkHeader(first, this.#version)
  }

  packet(bytes: Buffer, from: number, body: number, to: number): void {
    const version = this.#version
    if (version === undefined) return this.#first(bytes.subarray(from, to), body - from)
    this.#emit(readPlain(bytes[from]!, bytes, body, to, version) ?? this.#read(bytes, from, body, to, version))
  }

  /** What is wrong with a CONNECT is told to the conversation as well: it may have an answer in the client's version. */
  #first(bytes: Buffer, header: number): void {
    const { version, fault } = readVersion(bytes.subarray(header))
    this.#version = version
    let connect: Inbound
    try {
      if (fault) throw fault
      connect = this.#read(bytes, 0, header, bytes.length, version)
    } catch (error) {
      if (Fault.is(error)) this.#emit({ cmd: 'rejected', version, fault: error })
      throw error
    }
    this.#emit(connect)
  }

  #read(bytes: Buffer, from: number, body: number, to: number, version: Version): Inbound {
    const first = bytes[from]!
    const { user, willUser } = checkPacket(first, bytes.subarray(body, to), version)
    const parser = first >> 4 === types.connect ? new WholeParser() : shared[version]
    return ordered(parser.parse(bytes.subarray(from, to)), user, willUser)
  }
}

/** The version to speak, and why not. @throws Fault 'malformed' when it is not MQTT at all */
const readVersion = (connect: Buffer): { readonly version: Version; readonly fault?: Fault } => {
  const { name, level } = readLevel(connect)
  if (name === 'MQTT' && (level === 4 || level === 5)) return { version: level }
  const fault = new Fault('unsupported', `protocol level ${level} of ${name}`, { about: 'version' })
  return { version: level > 5 && level < 0x80 ? 5 : 4, fault }
}

/** mqtt-packet, given whole packets only. */
class WholeParser {
  readonly #version: Version | undefined
  #parser: mqtt.Parser | undefined
  #packet: Parsed | undefined
  #error: unknown

  /** `version` undefined: for one CONNECT, which says it. */
  constructor(version?: Version) {
    this.#version = version
  }

  /** @throws Fault 'malformed' */
  parse(bytes: Buffer): Parsed {
    this.#parser ??= this.#create()
    this.#packet = this.#error = undefined
    const left = this.#parser.parse(bytes)
    if (this.#error === undefined && this.#packet !== undefined && left === 0) return this.#packet
    this.#parser = undefined // what it holds is no packet's beginning
    const { message } = this.#error instanceof Error ? this.#error : { message: 'not one packet' }
    throw malformed(message)
  }

  #create(): mqtt.Parser {
    const parser = mqtt.parser(this.#version && { protocolVersion: this.#version })
    parser.on('packet', (parsed) => {
      this.#packet = parsed as Parsed
    })
    parser.on('error', (problem) => {
      this.#error = problem
    })
    return parser
  }
}

/** Whole packets leave nothing behind: all connections of a version share one. */
const shared: Readonly<Record<Version, WholeParser>> = { 4: new WholeParser(4), 5: new WholeParser(5) }

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

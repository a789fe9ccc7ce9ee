import net from 'node:net'
import type { Case, Wanted } from './case.ts'
import { type Packet, read, type Version } from './packets.ts'

const PATIENCE_MS = 12_000

export interface Ports {
  readonly plain: number
  readonly bare: number
  readonly web: number
}

const told = (packet: unknown): string =>
  JSON.stringify(packet, (_, value) => (value instanceof Map ? Object.fromEntries(value) : value))

/** @returns why it is not that; undefined: it is */
const differs = (packet: Packet, wanted: Wanted): string | undefined => {
  const { properties = {}, within, reason, ...rest } = wanted
  for (const [field, value] of Object.entries(rest)) {
    const found = packet[field as keyof Packet]
    if (told(found) !== told(value)) return field
  }
  if (reason !== undefined && ![reason].flat().includes(packet.reason!)) return 'reason'
  if (within !== undefined && packet.size > within) return 'size'
  for (const [id, value] of Object.entries(properties)) {
    const found = packet.properties.get(Number(id)) ?? []
    if (typeof value === 'function' ? !value(found[0]) : told(found) !== told(value)) return `property ${id}`
  }
  return undefined
}

/** One connection. */
class Client {
  readonly #socket: net.Socket
  readonly #version: Version
  readonly #packets: Packet[] = []
  /** What it was sent, on earlier connections too. */
  readonly publishes: Packet[]
  #held: Buffer = Buffer.alloc(0)
  #ended = false
  #broken: Error | undefined
  #wake: () => void = () => undefined

  constructor(port: number, version: Version, publishes: Packet[]) {
    this.#version = version
    this.publishes = publishes
    this.#socket = net.connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk) => this.#take(chunk))
    this.#socket.on('error', () => undefined)
    this.#socket.on('end', () => this.#over())
    this.#socket.on('close', () => this.#over())
  }

  #over(): void {
    this.#ended = true
    this.#wake()
  }

  #take(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk])
    try {
      for (;;) {
        const packet = this.#held.length > 0 ? read(this.#held, this.#version) : undefined
        if (!packet) break
        this.#held = this.#held.subarray(packet.size)
        this.#packets.push(packet)
      }
    } catch (error) {
      this.#broken = error as Error
    }
    this.#wake()
  }

  send(...packets: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(packets))
  }

  /** undefined: the connection has ended. */
  async #next(): Promise<Packet | undefined> {
    while (this.#packets.length === 0 && !this.#ended && !this.#broken) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    const packet = this.#packets.shift()
    if (packet?.type === 'publish') this.publishes.push(packet)
    if (!packet && this.#broken) throw this.#broken
    return packet
  }

  async get(wanted: Wanted): Promise<void> {
    const packet = await this.#next()
    if (!packet) throw new Error(`the connection ended instead of ${told(wanted)}`)
    const why = differs(packet, wanted)
    if (why !== undefined) throw new Error(`${why}: wanted ${told(wanted)}, got ${told(packet)}`)
  }

  async gather(wanted: readonly Wanted[]): Promise<void> {
    const left = [...wanted]
    while (left.length > 0) {
      const packet = await this.#next()
      if (!packet) throw new Error(`the connection ended instead of ${told(left)}`)
      const at = left.findIndex((one) => differs(packet, one) === undefined)
      if (at < 0) throw new Error(`wanted ${told(left)}, got ${told(packet)}`)
      left.splice(at, 1)
    }
  }

  async find(wanted: Wanted): Promise<void> {
    for (;;) {
      const packet = await this.#next()
      if (!packet) throw new Error(`the connection ended instead of ${told(wanted)}`)
      if (differs(packet, wanted) === undefined) return
    }
  }

  async closed(): Promise<void> {
    const packet = await this.#next()
    if (packet) throw new Error(`wanted the end, got ${told(packet)}`)
  }

  async refused(codes: readonly number[]): Promise<void> {
    const packet = await this.#next()
    if (!packet) return
    const wanted = { type: 'connack', present: false, reason: codes }
    if (codes.length === 0 || differs(packet, wanted) !== undefined) {
      throw new Error(`wanted the end or ${told(wanted)}, got ${told(packet)}`)
    }
    await this.closed()
  }

  /** The one `back` before the last. */
  published(back: number): Packet {
    const found = this.publishes.at(-1 - back)
    if (!found) throw new Error('nothing was published')
    return found
  }

  cut(): void {
    this.#socket.destroy()
  }
}

/** The connections of one case. A client that is connected anew keeps what it was sent. */
export class Play {
  readonly version: Version
  readonly port: number
  readonly #clients: Map<string, Client>
  readonly #all: Client[]

  constructor(port: number, version: Version, clients = new Map<string, Client>(), all: Client[] = []) {
    this.version = version
    this.port = port
    this.#clients = clients
    this.#all = all
  }

  client(who: string): Client {
    return this.#clients.get(who) ?? this.renew(who)
  }

  renew(who: string): Client {
    const client = new Client(this.port, this.version, this.#clients.get(who)?.publishes ?? [])
    this.#clients.set(who, client)
    this.#all.push(client)
    return client
  }

  as(version: Version): Play {
    return new Play(this.port, version, this.#clients, this.#all)
  }

  end(): void {
    for (const client of this.#all) client.cut()
  }
}

let plays = 0

/** @throws Error: where it went otherwise */
export const play = async (one: Case, ports: Ports, patience = PATIENCE_MS): Promise<void> => {
  const game = new Play(ports[one.at ?? 'plain'], one.version)
  let at = 0
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('nothing came')), patience)
  })
  const work = async () => {
    for (const step of one.steps(`s${++plays}`)) {
      await step(game)
      at++
    }
  }
  try {
    await Promise.race([work(), late])
  } catch (error) {
    throw new Error(`step ${at}: ${(error as Error).message}`)
  } finally {
    clearTimeout(timer)
    game.end()
  }
}

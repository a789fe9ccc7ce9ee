import net from 'node:net'

/** Where a QoS 2 handshake stands, by the packet that was seen last. */
export type Stage = 'publish' | 'pubrec' | 'pubrel'
export interface Step {
  readonly client: string
  /** Of the client's own publish, or of a delivery to it. */
  readonly way: 'in' | 'out'
  readonly stage: Stage
}

const names: Readonly<Record<number, Stage | 'pubcomp'>> = { 3: 'publish', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' }
const CONNECT = 1

/** u8 type and flags · length of 1 to 4 bytes · body: calls with each whole packet of a direction. */
const cutter = (packet: (first: number, body: Buffer) => void): ((chunk: Buffer) => void) => {
  let held = Buffer.alloc(0)
  return (chunk) => {
    held = Buffer.concat([held, chunk])
    for (;;) {
      let length = 0
      let at = 1
      for (; at < held.length; at++) {
        length |= (held[at]! & 0x7f) << (7 * (at - 1))
        if (held[at]! < 0x80) break
      }
      if (at >= held.length || held.length < at + 1 + length) return
      packet(held[0]!, held.subarray(at + 1, at + 1 + length))
      held = held.subarray(at + 1 + length)
    }
  }
}

const isExact = (first: number): boolean => first >> 4 !== 3 || (first & 6) === 4
const idOf = (first: number, body: Buffer): number =>
  first >> 4 === 3 ? body.readUInt16BE(2 + body.readUInt16BE(0)) : body.readUInt16BE(0)

/**
 * An address that stays for a gateway that comes and goes, and that sees each QoS 2 handshake pass. While the gateway is
 * away connections wait rather than fail: Paho Python forgets at its second attempt that it had PUBREC for a message, and
 * publishes it anew, which no server can tell from another message.
 */
export class Relay {
  port = 0
  /** Told before the packet is passed on; true: it is not. */
  onStep: (step: Step) => boolean = () => false
  readonly #server = net.createServer((client) => this.#connected(client))
  readonly #sockets = new Set<net.Socket>()
  readonly #open = new Map<string, Step>()
  readonly #waiting = new Set<net.Socket>()
  #target: number | undefined

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.port = (this.#server.address() as net.AddressInfo).port
  }

  /** Handshakes that have begun and not ended. */
  open(): readonly Step[] {
    return [...this.#open.values()]
  }

  /** The gateway is at this port. */
  back(port: number): void {
    this.#target = port
    for (const client of this.#waiting) this.#pass(client, port)
    this.#waiting.clear()
  }

  /** The gateway is gone, and with it every connection. */
  away(): void {
    this.#target = undefined
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.away()
    for (const client of this.#waiting) client.destroy()
    this.#server.close()
  }

  #connected(client: net.Socket): void {
    client.on('error', () => client.destroy())
    if (this.#target !== undefined) return this.#pass(client, this.#target)
    this.#waiting.add(client)
    client.on('close', () => this.#waiting.delete(client))
  }

  #pass(client: net.Socket, port: number): void {
    const gateway = net.connect(port, '127.0.0.1')
    gateway.on('error', () => gateway.destroy())
    let name = ''
    let dropped = false
    /** Whether it is MQTT and not a WebSocket, whose frames nobody looks into. */
    let watched: boolean | undefined
    const watch = (from: 'client' | 'gateway') => {
      const cut = cutter((first, body) => {
        if (first >> 4 === CONNECT) name = clientOf(body)
        else dropped = this.#seen(name, from, first, body) || dropped
      })
      return (chunk: Buffer, to: net.Socket) => {
        watched ??= chunk[0]! >> 4 === CONNECT
        if (watched) cut(chunk)
        if (!dropped && !to.destroyed) to.write(chunk)
      }
    }
    for (const [one, other, from] of [
      [client, gateway, 'client'],
      [gateway, client, 'gateway'],
    ] as const) {
      const pass = watch(from)
      one.setNoDelay(true)
      one.on('data', (chunk: Buffer) => pass(chunk, other))
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
      this.#sockets.add(one)
    }
  }

  #seen(client: string, from: 'client' | 'gateway', first: number, body: Buffer): boolean {
    const what = names[first >> 4]
    if (what === undefined || !isExact(first)) return false
    // PUBLISH and PUBREL come from whoever publishes, PUBREC and PUBCOMP go to it.
    const way = (what === 'publish' || what === 'pubrel') === (from === 'client') ? 'in' : 'out'
    const key = `${client} ${way} ${idOf(first, body)}`
    if (what === 'pubcomp') {
      this.#open.delete(key)
      return false
    }
    const step = { client, way, stage: what } as const
    this.#open.set(key, step)
    return this.onStep(step)
  }
}

/** name text · level u8 · flags u8 · keep alive u16 · [properties] · client id text */
const clientOf = (connect: Buffer): string => {
  let at = 2 + connect.readUInt16BE(0)
  const five = connect[at] === 5
  at += 4
  if (five) {
    let length = 0
    let shift = 0
    for (; ; shift += 7) {
      const byte = connect[at++]!
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += length
  }
  return connect.toString('utf8', at + 2, at + 2 + connect.readUInt16BE(at))
}

import net from 'node:net'
import { both, type Case, type Step } from '../case.ts'
import { bytes, connect, pingreq } from '../packets.ts'

const NONE = 0
const TEXT = 1
const BINARY = 2
const CLOSE = 8

/** A WebSocket client of a few lines: small frames, masked with zeros. */
class Web {
  readonly #socket: net.Socket
  #held: Buffer = Buffer.alloc(0)
  #ended = false
  #wake: () => void = () => undefined

  constructor(port: number, protocols: string | undefined) {
    this.#socket = net.connect(port, '127.0.0.1')
    this.#socket.on('data', (chunk) => {
      this.#held = Buffer.concat([this.#held, chunk])
      this.#wake()
    })
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => {
      this.#ended = true
      this.#wake()
    })
    const offer = protocols === undefined ? '' : `Sec-WebSocket-Protocol: ${protocols}\r\n`
    this.#socket.write(
      `GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${offer}\r\n`,
    )
  }

  /** What `find` makes of what is there; undefined: more is needed, or the end has come. */
  async #until<T>(find: (held: Buffer) => readonly [T, number] | undefined): Promise<T | undefined> {
    for (;;) {
      const found = find(this.#held)
      if (found) {
        this.#held = this.#held.subarray(found[1])
        return found[0]
      }
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  head(): Promise<string | undefined> {
    return this.#until((held) => {
      const end = held.indexOf('\r\n\r\n')
      return end < 0 ? undefined : [held.subarray(0, end).toString(), end + 4]
    })
  }

  frame(): Promise<{ readonly code: number; readonly payload: Buffer } | undefined> {
    return this.#until((held) => {
      if (held.length < 2 || held.length < 2 + held[1]!) return undefined
      return [{ code: held[0]! & 15, payload: held.subarray(2, 2 + held[1]!) }, 2 + held[1]!]
    })
  }

  /** Until so many bytes of binary frames are there. */
  async take(length: number): Promise<Buffer> {
    let all = Buffer.alloc(0)
    while (all.length < length) {
      const frame = await this.frame()
      if (frame?.code !== BINARY) throw new Error(`frame ${frame?.code} instead of ${length} bytes`)
      all = Buffer.concat([all, frame.payload])
    }
    return all
  }

  send(code: number, payload: Buffer, last = true): void {
    this.#socket.write(Buffer.concat([bytes((last ? 0x80 : 0) | code, 0x80 | payload.length, 0, 0, 0, 0), payload]))
  }

  end(): void {
    this.#socket.destroy()
  }
}

const through =
  (protocols: string | undefined, use: (web: Web, head: string) => Promise<void>): Step =>
  async (play) => {
    const web = new Web(play.port, protocols)
    try {
      await use(web, (await web.head()) ?? '')
    } finally {
      web.end()
    }
  }
const upgraded = (head: string): void => {
  if (!/^HTTP\/1\.1 101 /.test(head) || !/^sec-websocket-protocol: mqtt\r?$/im.test(head)) throw new Error(head)
}
const connacked = async (web: Web): Promise<void> => {
  const raw = await web.take(4)
  if (raw[0] !== 0x20 || raw[3] !== 0) throw new Error(`no CONNACK: ${raw.toString('hex')}`)
}
const pinged = async (web: Web): Promise<void> => {
  const raw = await web.take(2)
  if (raw.toString('hex') !== 'd000') throw new Error(`no PINGRESP: ${raw.toString('hex')}`)
}

export const web: readonly Case[] = both((version) => {
  const make = (kind: Case['kind'], ids: readonly string[], name: string, step: (n: string) => Step): Case => ({
    ids,
    version,
    kind,
    name: `WebSocket: ${name}`,
    at: 'web',
    steps: (n) => [step(n)],
  })
  const whole = (n: string) => Buffer.concat([connect(version, n), pingreq])
  return [
    make('positive', ['6.0.0-1', '6.0.0-3', '6.0.0-4'], 'binary frames and the sub-protocol mqtt', (n) =>
      through('mqtt', async (client, head) => {
        upgraded(head)
        client.send(BINARY, connect(version, n))
        await connacked(client)
        client.send(BINARY, pingreq)
        await pinged(client)
      }),
    ),
    make('positive', ['6.0.0-4', '6.0.0-3'], 'mqtt is chosen among others', () =>
      through('other, mqtt', async (_, head) => upgraded(head)),
    ),
    make('positive', ['6.0.0-2'], 'a packet in frames of a byte each', (n) =>
      through('mqtt', async (client, head) => {
        upgraded(head)
        for (const byte of connect(version, n)) client.send(BINARY, bytes(byte))
        await connacked(client)
      }),
    ),
    make('positive', ['6.0.0-2'], 'a packet in fragments of one message', (n) =>
      through('mqtt', async (client, head) => {
        upgraded(head)
        const raw = connect(version, n)
        client.send(BINARY, raw.subarray(0, 5), false)
        client.send(NONE, raw.subarray(5), true)
        await connacked(client)
      }),
    ),
    make('positive', ['6.0.0-2'], 'two packets in a frame', (n) =>
      through('mqtt', async (client, head) => {
        upgraded(head)
        client.send(BINARY, whole(n))
        const raw = await client.take(6)
        if (raw[0] !== 0x20 || !raw.toString('hex').endsWith('d000')) throw new Error(raw.toString('hex'))
      }),
    ),
    ...(['first', 'later'] as const).map((when) =>
      make('negative', ['6.0.0-1'], `a text frame, the ${when} one`, (n) =>
        through('mqtt', async (client, head) => {
          upgraded(head)
          if (when === 'later') {
            client.send(BINARY, connect(version, n))
            await connacked(client)
            client.send(TEXT, pingreq)
          } else client.send(TEXT, connect(version, n))
          for (;;) {
            const frame = await client.frame()
            if (!frame || frame.code === CLOSE) return
            // A last word of MQTT 5 may come first; an answer may not.
            if (frame.payload[0] !== 0xe0) throw new Error(`answered ${frame.payload.toString('hex')}`)
          }
        }),
      ),
    ),
    ...[undefined, 'other', 'MQTT', 'mqtt2'].map((offer) =>
      make('negative', ['6.0.0-3', '6.0.0-4'], `the offer ${offer ?? 'of no sub-protocol'} is refused`, () =>
        through(offer, async (_, head) => {
          if (/^HTTP\/1\.1 101 /.test(head)) throw new Error(head)
        }),
      ),
    ),
  ]
})

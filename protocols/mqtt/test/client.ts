import type { Codec, Gateway, Protocol } from '@sluice/core'
import { connect, type FakeGateway, type Frames, type Wire } from '@sluice/testkit'
import mqtt from 'mqtt-packet'

export type Version = 4 | 5
type Connect = Partial<mqtt.IConnectPacket>

/** MQTT as a client speaks it, by mqtt-packet alone. */
export const clientCodec = (version: Version): Codec<mqtt.Packet> => ({
  decoder() {
    const parser = mqtt.parser({ protocolVersion: version })
    let emit: (packet: mqtt.Packet) => void = () => undefined
    let error: unknown
    parser.on('packet', (packet) => emit(packet))
    parser.on('error', (problem) => (error = problem))
    return {
      decode(chunk, to) {
        emit = to
        parser.parse(chunk)
        if (error) throw error
      },
      buffered: 0,
    }
  },
  encode: (packet) => mqtt.generate(packet, { protocolVersion: version }),
})

export const connectPacket = (version: Version, more: Connect = {}): mqtt.IConnectPacket => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: version,
  clean: true,
  clientId: 'one',
  keepalive: 0,
  ...more,
})

/** A client that does only what a test says. */
export class TestClient {
  readonly wire: Wire
  readonly version: Version
  readonly #frames: Frames<mqtt.Packet>
  readonly #kept: mqtt.Packet[] = []

  constructor(wire: Wire, version: Version) {
    this.wire = wire
    this.version = version
    this.#frames = wire.frames(clientCodec(version))
  }

  send(...packets: mqtt.Packet[]): void {
    this.#frames.send(...packets)
  }

  /** The next packet, which must be of this kind. */
  async next<C extends mqtt.PacketCmd>(cmd: C): Promise<Extract<mqtt.Packet, { cmd: C }>> {
    const packet = this.#kept.shift() ?? (await this.#frames.next())
    if (packet.cmd !== cmd) throw new Error(`${JSON.stringify(packet)} instead of ${cmd}`)
    return packet as Extract<mqtt.Packet, { cmd: C }>
  }

  /** The first packet of this kind that has not been taken; those before it stay. */
  async take<C extends mqtt.PacketCmd>(cmd: C): Promise<Extract<mqtt.Packet, { cmd: C }>> {
    for (let at = 0; ; at++) {
      if (at === this.#kept.length) this.#kept.push(await this.#frames.next())
      if (this.#kept[at]!.cmd === cmd) return this.#kept.splice(at, 1)[0] as Extract<mqtt.Packet, { cmd: C }>
    }
  }

  /** What has come and was not taken. */
  here(): readonly mqtt.Packet[] {
    return [...this.#kept.splice(0), ...this.#frames.here()]
  }

  publish(topic: string, payload: string | Buffer, qos: 0 | 1 | 2 = 0, more: Partial<mqtt.IPublishPacket> = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, ...more })
  }

  async subscribe(topic: string, qos: 0 | 1 | 2, more: Partial<mqtt.ISubscription> = {}): Promise<number> {
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos, ...more }] })
    return (await this.next('suback')).granted[0] as number
  }
}

/** A connection on which nothing has been said. */
export const dial = async (protocol: Protocol, gateway: Gateway, version: Version): Promise<TestClient> =>
  new TestClient(await connect(protocol, gateway), version)

/** A client that is let in. */
export const enter = async (
  protocol: Protocol,
  gateway: FakeGateway,
  version: Version,
  more: Connect = {},
): Promise<{ readonly client: TestClient; readonly connack: mqtt.IConnackPacket }> => {
  const client = await dial(protocol, gateway, version)
  client.send(connectPacket(version, more))
  return { client, connack: await client.next('connack') }
}

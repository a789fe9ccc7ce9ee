import assert from 'node:assert/strict'
import { defaultLimits, type Protocol } from '@sluice/core'
import { connect, type FakeGateway, type Frames, type Wire } from '@sluice/testkit'
import { AMQP, amqpCodec, type Frame, ourHeader, type SASL } from '../src/codec.ts'
import type { CompositeOf, Performative, SaslPerformative } from '../src/shapes.ts'
import { mapOf, type Value } from '../src/types/values.ts'
import { Writer } from '../src/types/writer.ts'

type Name = Performative['type']
export type Received<N extends Name> = CompositeOf<N> & { readonly channel: number; readonly payload: Buffer }

const codec = amqpCodec(defaultLimits)

/** A client that says exactly what a test wants. It speaks frames and keeps no state but the flows it has not been asked for. */
export class Client {
  readonly wire: Wire
  readonly frames: Frames<Frame>

  constructor(wire: Wire) {
    this.wire = wire
    this.frames = wire.frames(codec)
  }

  static async to(protocol: Protocol, gateway: FakeGateway): Promise<Client> {
    return new Client(await connect(protocol, gateway))
  }

  /** Connected, opened without SASL, with a session on channel 0. */
  static async open(
    protocol: Protocol,
    gateway: FakeGateway,
    open: Partial<CompositeOf<'open'>> = {},
  ): Promise<Client> {
    const client = await Client.to(protocol, gateway)
    client.frames.send(ourHeader(AMQP))
    client.send({ type: 'open', containerId: 'test', ...open })
    client.begin()
    assert.deepEqual(await client.frames.next(), ourHeader(AMQP))
    await client.next('open')
    await client.next('begin')
    return client
  }

  send(body: Performative, payload?: Buffer, channel = 0): void {
    this.frames.send({ kind: 'amqp', channel, body, ...(payload && { payload }) })
  }

  sasl(body: SaslPerformative): void {
    this.frames.send({ kind: 'sasl', body })
  }

  header(id: typeof AMQP | typeof SASL): void {
    this.frames.send(ourHeader(id))
  }

  begin(more: Partial<CompositeOf<'begin'>> = {}, channel = 0): void {
    this.send(
      { type: 'begin', nextOutgoingId: 0, incomingWindow: 1000, outgoingWindow: 1000, ...more },
      undefined,
      channel,
    )
  }

  /** The next frame, which must be of this type; flows that were not waited for are passed over. */
  async next<N extends Name>(type: N): Promise<Received<N>> {
    let frame = await this.frames.next()
    while (frame.kind === 'amqp' && frame.body?.type === 'flow' && type !== 'flow') frame = await this.frames.next()
    assert.ok(frame.kind === 'amqp' && frame.body, `a ${frame.kind} frame instead of ${type}`)
    assert.equal(frame.body.type, type, `instead of ${type}: ${JSON.stringify(frame.body)}`)
    const payload = (frame.payload as Buffer | undefined) ?? Buffer.alloc(0)
    return { ...frame.body, channel: frame.channel, payload } as unknown as Received<N>
  }

  /** The condition of the next frame, which must end something. */
  async error(type: 'detach' | 'end' | 'close'): Promise<string> {
    const { error } = await this.next(type)
    return (error as CompositeOf<'error'> | undefined)?.condition ?? 'none'
  }

  /** A sender, attached and with credit. */
  async sender(address: string | null, more: Partial<CompositeOf<'attach'>> = {}): Promise<Received<'attach'>> {
    this.send({
      type: 'attach',
      name: 'sender',
      handle: 0,
      role: false,
      initialDeliveryCount: 0,
      target: { type: 'target', ...(address !== null && { address }) },
      ...more,
    })
    const attach = await this.next('attach')
    if (attach.target) await this.next('flow')
    return attach
  }

  async receiver(address: string, more: Partial<CompositeOf<'attach'>> = {}): Promise<Received<'attach'>> {
    this.send({ type: 'attach', name: 'receiver', handle: 1, role: true, source: { type: 'source', address }, ...more })
    return this.next('attach')
  }

  credit(linkCredit: number, more: Partial<CompositeOf<'flow'>> = {}): void {
    this.flow({ handle: 1, linkCredit, deliveryCount: 0, ...more })
  }

  flow(more: Partial<CompositeOf<'flow'>> = {}): void {
    this.send({
      type: 'flow',
      nextIncomingId: 0,
      incomingWindow: 1000,
      nextOutgoingId: 0,
      outgoingWindow: 1000,
      ...more,
    })
  }

  transfer(deliveryId: number, payload: Buffer, more: Partial<CompositeOf<'transfer'>> = {}): void {
    this.send(
      { type: 'transfer', handle: 0, deliveryId, deliveryTag: Buffer.from([deliveryId & 0xff]), ...more },
      payload,
    )
  }

  settle(
    first: number,
    state: CompositeOf<'disposition'>['state'],
    more: Partial<CompositeOf<'disposition'>> = {},
  ): void {
    this.send({ type: 'disposition', role: true, first, settled: true, state, ...more })
  }
}

/** A message of one data section, with application properties. */
export const message = (body: string | Buffer, properties: Readonly<Record<string, Value>> = {}): Buffer => {
  const writer = new Writer()
  const entries = Object.entries(properties)
  if (entries.length > 0) {
    writer.raw(Buffer.from('005374', 'hex'))
    writer.value(mapOf(entries))
  }
  writer.raw(Buffer.from('005375', 'hex'))
  writer.value(Buffer.from(body))
  return writer.copy()
}

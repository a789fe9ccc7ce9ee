import type { AddressInfo } from 'node:net'
import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceDefinition,
} from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { type Listener, listen, type ProtocolServer, systemClock, Wheel } from '@sluice/core'
import { type FakeGateway, type FakeGatewayOptions, fakeGateway } from '@sluice/testkit'
import { descriptor } from '../src/descriptor.ts'
import grpc from '../src/index.ts'

const SERVICE = 'apache.rocketmq.v2.MessagingService'
export const service = fromJSON(descriptor as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  arrays: true,
  objects: true,
  oneofs: true,
})[SERVICE] as ServiceDefinition

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
export type Reply = any

export type Real = FakeGateway<typeof systemClock>

/** A gateway in memory with the protocol on a loopback port. */
export class House {
  static transport: 'frames' | 'grpc-js' = 'frames'
  readonly gateway: Real
  readonly server: ProtocolServer
  readonly #listener: Listener
  readonly #callers: Caller[] = []
  readonly #wheel: Wheel

  private constructor(gateway: Real, server: ProtocolServer, listener: Listener, wheel: Wheel) {
    this.gateway = gateway
    this.server = server
    this.#listener = listener
    this.#wheel = wheel
  }

  static async open(options: Omit<FakeGatewayOptions<typeof systemClock>, 'clock'> = {}): Promise<House> {
    const gateway = fakeGateway({ ...options, clock: systemClock })
    const protocol = grpc({ transport: House.transport })
    const server = await protocol.start(gateway)
    const wheel = new Wheel(systemClock)
    const { limits, clock, log } = gateway
    const protocols = [{ protocol, server }]
    const listener = await listen({
      host: '127.0.0.1',
      port: 0,
      protocols,
      proxyProtocol: 'off',
      limits,
      wheel,
      clock,
      log,
    })
    return new House(gateway, server, listener, wheel)
  }

  get port(): AddressInfo['port'] {
    return this.#listener.port
  }

  caller(client = 'client-1', options: ChannelOptions = {}): Caller {
    const caller = new Caller(this.port, client, options)
    this.#callers.push(caller)
    return caller
  }

  async close(): Promise<void> {
    for (const caller of this.#callers) caller.close()
    await this.server.close()
    await this.#listener.close()
    this.#wheel.close()
    this.gateway.close()
  }
}

/** A gRPC client with one connection of its own. */
export class Caller {
  readonly client: Client
  readonly metadata = new Metadata()

  constructor(port: number, id: string, options: ChannelOptions) {
    this.client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      ...options,
    })
    if (id) this.metadata.set('x-mq-client-id', id)
    this.metadata.set('x-mq-language', 'TEST')
    this.metadata.set('x-mq-client-version', '5.2.0')
  }

  call(rpc: string, request: object, ms = 3_000): Promise<Reply> {
    const { path, requestSerialize, responseDeserialize } = service[rpc]!
    return new Promise((resolve, reject) =>
      this.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        this.metadata,
        { deadline: Date.now() + ms },
        (error, reply) => (error ? reject(error) : resolve(reply)),
      ),
    )
  }

  stream(rpc: string, request: object, ms = 10_000) {
    const { path, requestSerialize, responseDeserialize } = service[rpc]!
    return this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, this.metadata, {
      deadline: Date.now() + ms,
    })
  }

  /** All parts of a receive. */
  async receive(request: object, ms = 10_000): Promise<Reply[]> {
    const parts: Reply[] = []
    for await (const part of this.stream('ReceiveMessage', request, ms)) parts.push(part)
    return parts
  }

  telemetry(timeout?: string): ClientDuplexStream<object, Reply> {
    const { path, requestSerialize, responseDeserialize } = service.Telemetry!
    const metadata = this.metadata.clone()
    if (timeout) metadata.set('grpc-timeout', timeout)
    const stream = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    stream.on('error', () => undefined)
    return stream
  }

  send(topic: string, body: string | Buffer, system: object = {}, properties: object = {}): Promise<Reply> {
    return this.call('SendMessage', { messages: [message(topic, body, system, properties)] })
  }

  close(): void {
    this.client.close()
  }
}

let ids = 0
export const message = (topic: string, body: string | Buffer, system: object = {}, properties: object = {}) => ({
  topic: { name: topic },
  user_properties: properties,
  system_properties: { message_id: `01${(++ids).toString(16).toUpperCase().padStart(32, '0')}`, keys: [], ...system },
  body: Buffer.from(body),
})

export const asking = (topic: string, group: string, more: object = {}) => ({
  group: { name: group },
  message_queue: { topic: { name: topic } },
  batch_size: 32,
  invisible_duration: { seconds: 30 },
  long_polling_timeout: { seconds: 5 },
  ...more,
})

import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { Fault } from '@sluice/core'
import {
  type Asker,
  ackMessage,
  changeInvisibleDuration,
  forwardToDeadLetter,
  type Hall,
  heartbeat,
  notifyClientTermination,
  queryAssignment,
  queryRoute,
  sendMessage,
  type Unary,
} from './calls.ts'
import type { GrpcConnection } from './connection.ts'
import { credentialsOf } from './credentials.ts'
import { descriptor } from './descriptor.ts'
import type { Exchange } from './exchange.ts'
import { receiveMessage } from './receive.ts'
import { type TelemetryStream, telemetry } from './telemetry.ts'
import { dropEndlessTimeout } from './timeouts.ts'
import type { ReceiveMessageRequest, ReceiveMessageResponse } from './wire.ts'

const SERVICE = 'apache.rocketmq.v2.MessagingService'
/** Header by which a call finds the stream it came on; a client's own is overwritten. */
const EXCHANGE = 'sluice-exchange'
/** Telemetry streams of the clients on one connection, beside their calls and polls. */
const TELEMETRY_STREAMS = 64
/** A silent connection is asked whether it is still there. */
const KEEP_ALIVE_MS = 60_000

interface Place {
  readonly connection: GrpcConnection
  readonly exchange: Exchange
}

type Call = { readonly metadata: Metadata; getDeadline(): Date | number }

/** The RocketMQ service on grpc-js, which loads with this module: not before the first connection. */
export class Service {
  readonly #hall: Hall
  readonly #server: Server
  readonly #injector: ReturnType<Server['createConnectionInjector']>
  readonly #http2: Http2Server
  readonly #connections = new WeakMap<ServerHttp2Session, GrpcConnection>()
  readonly #places = new Map<string, Place>()
  #entering: GrpcConnection | undefined

  constructor(hall: Hall) {
    this.#hall = hall
    const { limits } = hall.gateway
    this.#server = new Server({
      'grpc.enable_channelz': 0,
      'grpc.max_concurrent_streams': limits.inflight + limits.parked + TELEMETRY_STREAMS,
      // Twice the frame, so that a body that is too large is refused in the protocol's words and not by gRPC's.
      'grpc.max_receive_message_length': 2 * limits.frameBytes,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEP_ALIVE_MS,
    })
    this.#server.addService(definition(), this.#implementation())
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure())
    this.#http2 = http2ServerOf(this.#server)
    this.#http2.prependListener('session', (session: ServerHttp2Session) => this.#entered(session))
    this.#http2.prependListener('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) =>
      this.#opened(stream, headers),
    )
    this.#http2.on('sessionError', (error: Error, session: ServerHttp2Session) =>
      this.#connections.get(session)?.failed(error),
    )
  }

  /** The session is made before this returns. */
  take(connection: GrpcConnection): void {
    this.#entering = connection
    this.#injector.injectConnection(connection.socket)
    if (this.#entering) throw new Error('grpc-js made no session of an injected connection')
  }

  close(): void {
    this.#injector.destroy()
  }

  #entered(session: ServerHttp2Session): void {
    const connection = this.#entering
    this.#entering = undefined
    if (!connection) return
    this.#connections.set(session, connection)
    connection.attach(session)
  }

  /** Before grpc-js sees the stream. */
  #opened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    dropEndlessTimeout(headers)
    const connection = stream.session && this.#connections.get(stream.session as ServerHttp2Session)
    if (!connection) return
    const exchange = connection.open(stream, headers[':path'] === `/${SERVICE}/Telemetry`)
    const place = `${connection.id} ${stream.id}`
    headers[EXCHANGE] = place
    this.#places.set(place, { connection, exchange })
    void exchange.ended.then(() => this.#places.delete(place))
  }

  #implementation(): UntypedServiceImplementation {
    return {
      QueryRoute: this.#unary(queryRoute),
      QueryAssignment: this.#unary(queryAssignment),
      Heartbeat: this.#unary(heartbeat),
      NotifyClientTermination: this.#unary(notifyClientTermination),
      SendMessage: this.#unary(sendMessage),
      AckMessage: this.#unary(ackMessage),
      ChangeInvisibleDuration: this.#unary(changeInvisibleDuration),
      ForwardMessageToDeadLetterQueue: this.#unary(forwardToDeadLetter),
      ReceiveMessage: (call: ServerWritableStream<ReceiveMessageRequest, ReceiveMessageResponse>) =>
        void this.#receive(call),
      Telemetry: (call: TelemetryStream) => void this.#telemetry(call),
      PullMessage: (call: ServerWritableStream<object, object>) => {
        this.#placeOf(call).exchange.taken()
        call.write({ status: this.#hall.refuse(notServed('PullMessage')) })
        call.end()
      },
      ...Object.fromEntries(unserved.map((name) => [name, this.#unary(async () => Promise.reject(notServed(name)))])),
    }
  }

  #unary<Request>(answer: Unary<Request>) {
    return (call: ServerUnaryCall<Request, object>, done: sendUnaryData<object>) => {
      const { connection, exchange } = this.#placeOf(call)
      exchange.asked()
      this.#inTurn(connection, exchange, async () => answer(call.request, await this.#asker(call), this.#hall))
        .catch((error: unknown) => ({ status: this.#hall.refuse(error) }))
        .then((response) => {
          exchange.stalledSince = this.#hall.gateway.clock.now()
          done(null, response)
        })
    }
  }

  /** At most `limits.inflight` calls of a connection at once. One that nobody waits for any more is not begun. */
  async #inTurn(connection: GrpcConnection, exchange: Exchange, work: () => Promise<object>): Promise<object> {
    await connection.gate.enter()
    try {
      exchange.taken()
      return exchange.over ? {} : await work()
    } finally {
      connection.gate.leave()
    }
  }

  async #receive(call: ServerWritableStream<ReceiveMessageRequest, ReceiveMessageResponse>): Promise<void> {
    this.#placeOf(call).exchange.taken()
    call.on('error', ignore)
    try {
      await receiveMessage(call, await this.#asker(call), this.#hall)
    } catch (error) {
      call.write({ status: this.#hall.refuse(error) })
      call.end()
    }
  }

  async #telemetry(stream: TelemetryStream): Promise<void> {
    const { exchange } = this.#placeOf(stream)
    stream.on('error', ignore)
    exchange.finish = () => stream.end()
    // Rust does not go on before it has seen headers.
    stream.sendMetadata(new Metadata())
    await telemetry(stream, () => this.#asker(stream), this.#hall)
  }

  #placeOf({ metadata }: Pick<Call, 'metadata'>): Place {
    return this.#places.get(String(metadata.get(EXCHANGE)[0])) as Place
  }

  /** @throws Fault 'malformed', 'unauthenticated', 'limit' */
  async #asker(call: Call): Promise<Asker> {
    const { connection, exchange } = this.#placeOf(call)
    const { gateway, clients } = this.#hall
    const left = Number(call.getDeadline()) - Date.now()
    const header = (name: string) => call.metadata.get(name)[0]?.toString()
    const who = credentialsOf(header, connection.peer)
    const principal = await gateway.authenticate(who)
    const client = await clients.of(who, principal, connection.gone)
    const told = connection.state !== 'serving'
    return { client, principal, exchange, address: connection.peer.address, left, told }
  }
}

const unserved = ['UpdateOffset', 'GetOffset', 'QueryOffset', 'EndTransaction', 'RecallMessage', 'SyncLiteSubscription']
const notServed = (what: string) => new Fault('unsupported', `${what} is not served here yet`)
const ignore = () => undefined

const definition = (): ServiceDefinition =>
  fromJSON(descriptor as Parameters<typeof fromJSON>[0], {
    keepCase: true,
    longs: String,
    enums: String,
    arrays: true,
    objects: true,
    oneofs: true,
  })[SERVICE] as ServiceDefinition

/** grpc-js has no door to it; a version that keeps it elsewhere is refused here and not found out by a Java client. */
const http2ServerOf = (server: Server): Http2Server => {
  const known: unknown = (server as unknown as { http2Servers?: unknown }).http2Servers
  const [only, ...others] = known instanceof Map ? [...known.keys()] : []
  const usable = typeof only?.prependListener === 'function' && only.listenerCount('stream') > 0
  if (!usable || others.length > 0)
    throw new Error('this version of @grpc/grpc-js is not known: no HTTP/2 server found')
  return only as Http2Server
}

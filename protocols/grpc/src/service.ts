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
import {
  type Asker,
  type Hall,
  heartbeat,
  notifyClientTermination,
  queryAssignment,
  queryRoute,
  type Unary,
} from './calls.ts'
import type { GrpcConnection } from './connection.ts'
import { credentialsOf } from './credentials.ts'
import { descriptor } from './descriptor.ts'
import type { Exchange } from './exchange.ts'
import { health } from './health.ts'
import { syncLiteSubscription } from './lite.ts'
import { getOffset, pullMessage, queryOffset, updateOffset } from './offsets.ts'
import { receiveMessage } from './receive.ts'
import { reflection } from './reflection.ts'
import { endTransaction, recallMessage, sendMessage } from './sending.ts'
import { ackMessage, changeInvisibleDuration, forwardToDeadLetter } from './settling.ts'
import { type TelemetryStream, telemetry } from './telemetry.ts'
import { dropEndlessTimeout } from './timeouts.ts'

const SERVICE = 'apache.rocketmq.v2.MessagingService'
const HEALTH = 'grpc.health.v1.Health'
const REFLECTION = 'grpc.reflection.v1.ServerReflection'
/** The name before it was stable: older tools ask it first. */
const REFLECTION_ALPHA = 'grpc.reflection.v1alpha.ServerReflection'
/** Streams that last as long as their clients. */
const lasting: ReadonlySet<unknown> = new Set([
  `/${SERVICE}/Telemetry`,
  `/${HEALTH}/Watch`,
  `/${REFLECTION}/ServerReflectionInfo`,
  `/${REFLECTION_ALPHA}/ServerReflectionInfo`,
])
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
    this.#serve()
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
    const exchange = connection.open(stream, lasting.has(headers[':path']))
    const place = `${connection.id} ${stream.id}`
    headers[EXCHANGE] = place
    this.#places.set(place, { connection, exchange })
    void exchange.ended.then(() => this.#places.delete(place))
  }

  #serve(): void {
    const described = definitions()
    const placeOf = (call: object) => this.#placeOf(call as Call)
    const tools = reflection(placeOf, [SERVICE, HEALTH, REFLECTION, REFLECTION_ALPHA])
    this.#server.addService(described[SERVICE]!, this.#implementation())
    this.#server.addService(described[HEALTH]!, health(placeOf))
    this.#server.addService(described[REFLECTION]!, tools)
    this.#server.addService(renamed(described[REFLECTION]!, REFLECTION_ALPHA), tools)
  }

  #implementation(): UntypedServiceImplementation {
    return {
      QueryRoute: this.#unary(queryRoute),
      QueryAssignment: this.#unary(queryAssignment),
      Heartbeat: this.#unary(heartbeat),
      NotifyClientTermination: this.#unary(notifyClientTermination),
      SendMessage: this.#unary(sendMessage),
      EndTransaction: this.#unary(endTransaction),
      RecallMessage: this.#unary(recallMessage),
      AckMessage: this.#unary(ackMessage),
      ChangeInvisibleDuration: this.#unary(changeInvisibleDuration),
      ForwardMessageToDeadLetterQueue: this.#unary(forwardToDeadLetter),
      UpdateOffset: this.#unary(updateOffset),
      GetOffset: this.#unary(getOffset),
      QueryOffset: this.#unary(queryOffset),
      SyncLiteSubscription: this.#unary(syncLiteSubscription),
      ReceiveMessage: this.#poll(receiveMessage),
      PullMessage: this.#poll(pullMessage),
      Telemetry: (call: TelemetryStream) => void this.#telemetry(call),
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

  #poll<Request, Part extends object>(
    answer: (call: ServerWritableStream<Request, Part>, asker: Asker, hall: Hall) => Promise<void>,
  ) {
    return async (call: ServerWritableStream<Request, Part | object>): Promise<void> => {
      this.#placeOf(call).exchange.taken()
      call.on('error', ignore)
      try {
        await answer(call, await this.#asker(call), this.#hall)
      } catch (error) {
        call.write({ status: this.#hall.refuse(error) })
        call.end()
      }
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

  #placeOf({ metadata }: Pick<Call, 'metadata'>): Place & { readonly serving: boolean } {
    const { connection, exchange } = this.#places.get(String(metadata.get(EXCHANGE)[0])) as Place
    return { connection, exchange, serving: connection.state === 'serving' }
  }

  /** @throws Fault 'malformed', 'unauthenticated', 'limit' */
  async #asker(call: Call): Promise<Asker> {
    const { connection, exchange } = this.#placeOf(call)
    const { gateway, clients } = this.#hall
    const left = Number(call.getDeadline()) - Date.now()
    const header = (name: string) => call.metadata.get(name)[0]?.toString()
    const who = credentialsOf(header, connection.peer)
    const principal = await gateway.authenticate(who)
    const client = await clients.of(who, principal, connection)
    const told = connection.state !== 'serving'
    return { client, principal, exchange, address: connection.peer.address, left, told }
  }
}

const ignore = () => undefined

const definitions = () =>
  fromJSON(descriptor as Parameters<typeof fromJSON>[0], {
    keepCase: true,
    longs: String,
    enums: String,
    arrays: true,
    objects: true,
    oneofs: true,
  }) as Readonly<Record<string, ServiceDefinition>>

const renamed = (definition: ServiceDefinition, service: string): ServiceDefinition =>
  Object.fromEntries(
    Object.entries(definition).map(([name, method]) => [name, { ...method, path: `/${service}/${name}` }]),
  )

/** grpc-js has no door to it; a version that keeps it elsewhere is refused here and not found out by a Java client. */
const http2ServerOf = (server: Server): Http2Server => {
  const known: unknown = (server as unknown as { http2Servers?: unknown }).http2Servers
  const [only, ...others] = known instanceof Map ? [...known.keys()] : []
  const usable = typeof only?.prependListener === 'function' && only.listenerCount('stream') > 0
  if (!usable || others.length > 0)
    throw new Error('this version of @grpc/grpc-js is not known: no HTTP/2 server found')
  return only as Http2Server
}

import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import { Metadata, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import type { Connection, Peer, ProtocolServer } from '@sluice/core'
import type { Hall } from '../calls.ts'
import { Exchange } from '../exchange.ts'
import { prefixed } from '../messages.ts'
import type { Channel, Methods } from '../method.ts'
import { LibraryConnection } from './connection.ts'
import { NoticeDuplex } from './notice.ts'

/** Header by which a call finds its stream; a client's own is overwritten. */
const STREAM = 'sluice-stream'
const TELEMETRY_STREAMS = 64
const KEEP_ALIVE_MS = 60_000

interface Came {
  readonly connection: LibraryConnection
  readonly stream: ServerHttp2Stream
  readonly fields: readonly string[]
}
type Call = ServerDuplexStream<Buffer, Buffer>

/** The same exchanges on the server of @grpc/grpc-js, which keeps HTTP/2 to itself: see docs/grpc.md for what it cannot do. */
export class LibraryServer implements ProtocolServer {
  readonly #hall: Hall
  readonly #methods: Methods
  readonly #injector: ReturnType<Server['createConnectionInjector']>
  readonly #connections = new Map<LibraryConnection, ServerHttp2Session | undefined>()
  readonly #sessions = new WeakMap<ServerHttp2Session, LibraryConnection>()
  readonly #came = new Map<string, Came>()
  readonly #stopTicking: () => void
  #entering: LibraryConnection | undefined
  #counter = 0

  constructor(hall: Hall, methods: Methods, paths: readonly string[]) {
    const { limits, clock } = hall.gateway
    this.#hall = hall
    this.#methods = methods
    const server = new Server({
      'grpc.enable_channelz': 0,
      'grpc.max_concurrent_streams': limits.inflight + limits.parked + TELEMETRY_STREAMS,
      'grpc.max_receive_message_length': 2 * limits.frameBytes,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEP_ALIVE_MS,
    })
    const same = (bytes: Buffer) => bytes
    for (const path of paths) server.register(path, (call: Call) => this.#called(path, call), same, same, 'bidi')
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure())
    const http2 = http2ServerOf(server)
    http2.prependListener('session', (session: ServerHttp2Session) => this.#entered(session))
    http2.prependListener('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) =>
      this.#opened(stream, headers),
    )
    http2.on('sessionError', (error: Error & { code?: string }, session: ServerHttp2Session) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') this.#sessions.get(session)?.failed(error.message)
    })
    this.#stopTicking = clock.every(1_000, () => {
      for (const connection of this.#connections.keys()) connection.tick(clock.now())
    })
  }

  accept(socket: Duplex, peer: Peer): void {
    const { gateway, refuse } = this.#hall
    const id = `grpc/${++this.#counter}`
    const connection = new LibraryConnection(id, new NoticeDuplex(socket), peer, gateway, refuse)
    this.#connections.set(connection, undefined)
    void connection.gone.then(() => this.#connections.delete(connection))
    // The session is made before this returns.
    this.#entering = connection
    this.#injector.injectConnection(connection.socket)
  }

  connections(): Iterable<Connection> {
    return this.#connections.keys()
  }

  async close(): Promise<void> {
    this.#stopTicking()
    const all = [...this.#connections.keys()]
    for (const connection of all) connection.end(true)
    await Promise.all(all.map(({ gone }) => gone))
    this.#injector.destroy()
  }

  #entered(session: ServerHttp2Session): void {
    const connection = this.#entering
    this.#entering = undefined
    if (!connection) return
    this.#sessions.set(session, connection)
    connection.attach(session)
  }

  /** Before the library sees the stream. Deadlines are ours: it takes one of 60 years for a negative one. */
  #opened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const connection = stream.session && this.#sessions.get(stream.session as ServerHttp2Session)
    if (!connection) return
    const fields = Object.entries(headers).flatMap(([name, value]) => [name, String(value)])
    const key = `${connection.id} ${stream.id}`
    this.#came.set(key, { connection, stream, fields })
    stream.once('close', () => this.#came.delete(key))
    headers[STREAM] = key
    delete headers['grpc-timeout']
  }

  #called(path: string, call: Call): void {
    const came = this.#came.get(String(call.metadata.get(STREAM)[0]))
    if (!came) return
    const { connection, stream, fields } = came
    const { limits, clock } = this.#hall.gateway
    const channel = channelOf(call, stream)
    const now = clock.now()
    const max = 2 * limits.frameBytes
    const exchange = new Exchange({ method: this.#methods(path), fields, channel, place: connection, now, max })
    connection.open(stream.id!, { exchange, reset: channel.reset })
    call.on('error', () => undefined)
    call.on('data', (message: Buffer) => exchange.data(prefixed(message)))
    call.on('end', () => exchange.half())
    const ended = () => stream.rstCode === constants.NGHTTP2_NO_ERROR && stream.writableFinished
    stream.once('close', () => exchange.closed(ended() ? 'whole' : 'broken'))
    exchange.begin()
  }
}

const channelOf = (call: Call, stream: ServerHttp2Stream): Channel => {
  let responded = false
  const respond = () => {
    if (!responded) call.sendMetadata(new Metadata())
    responded = true
  }
  // The library copies what it writes with its prefix; ours is written anew with the next message.
  const write = (message: Buffer, written?: () => void) => {
    responded = true
    call.write(Buffer.from(message), () => written?.())
  }
  return {
    respond,
    write,
    reply(message) {
      write(message)
      call.end()
    },
    finish(code, details) {
      if (code === 0) call.end()
      else call.emit('error', { code, details })
    },
    reset: () => void stream.close(constants.NGHTTP2_CANCEL),
    flow: (open) => void (open ? call.resume() : call.pause()),
  }
}

/** The library has no door to it; a version that keeps it elsewhere is refused here and not found out by a client. */
const http2ServerOf = (server: Server): Http2Server => {
  const known: unknown = (server as unknown as { http2Servers?: unknown }).http2Servers
  const [only] = known instanceof Map ? [...known.keys()] : []
  if (typeof only?.prependListener !== 'function' || only.listenerCount('stream') === 0) {
    throw new Error('this version of @grpc/grpc-js is not known: no HTTP/2 server found')
  }
  return only as Http2Server
}

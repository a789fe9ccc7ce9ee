import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { Fault, type Gateway, type Ms } from '@sluice/core'
import { type RawData, type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import type { HttpConnection } from './connection.ts'
import { Refusal, rawAnswer } from './faults.ts'

/**
 * Sub-protocols and whose they are. Sources: MQTT 5.0 §6 [MQTT-6.0.0-3], with the name that MQTT 3.1 clients use;
 * OASIS AMQP WebSocket binding 1.0 §2.
 */
const subProtocols: Readonly<Record<string, string>> = { mqtt: 'mqtt', 'mqttv3.1': 'mqtt', amqp: 'amqp' }

/** RFC 6455 §7.4.1, and 1012 "service restart" of the IANA registry. */
const NORMAL = 1000
const RESTART = 1012
const UNSUPPORTED_DATA = 1003
/** How long a close handshake may take. */
const CLOSE_MS: Ms = 2_000

/** Byte streams out of WebSockets: binary messages in, binary messages out, borders of messages without a meaning. */
export class WebSockets {
  readonly #gateway: Gateway
  readonly #draining: () => boolean
  readonly #server: WebSocketServer

  constructor(gateway: Gateway, draining: () => boolean) {
    this.#gateway = gateway
    this.#draining = draining
    const options: ServerOptions & { readonly closeTimeout: Ms } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: gateway.limits.frameBytes,
      autoPong: false,
      closeTimeout: CLOSE_MS,
      handleProtocols: (offered) => chosen(offered) ?? false,
    }
    this.#server = new WebSocketServer(options)
    this.#server.on('wsClientError', (error, socket, request) => {
      streams.get(request)?.destroy()
      socket.end(rawAnswer(new Fault('malformed', error.message), requestIds.get(request) ?? ''))
    })
  }

  /** Gives the stream to the protocol that it names; what cannot be given is answered as HTTP. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, connection: HttpConnection, requestId: string): void {
    const refuse = (trouble: Fault | Refusal) => {
      connection.refused(trouble)
      connection.answerUpgrade(rawAnswer(trouble, requestId))
    }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    const name = chosen(offered)
    if (name === undefined) {
      return refuse(
        /^\/v1\/topics\/[^/]+\/groups\/[^/]+\/ws(\?|$)/.test(request.url ?? '')
          ? new Refusal('noRoute', 'no native WebSocket yet; server-sent events are at …/stream')
          : new Fault('malformed', `Sec-WebSocket-Protocol offers none of ${Object.keys(subProtocols).join(', ')}`),
      )
    }
    const stream = new SocketStream(this.#gateway.limits.outboundBytes, this.#draining)
    stream.on('error', () => undefined)
    try {
      this.#gateway.adopt(subProtocols[name] as string, stream, connection.peer)
    } catch (error) {
      stream.destroy()
      return refuse(Fault.from(error))
    }
    streams.set(request, stream)
    requestIds.set(request, requestId)
    connection.handOver()
    socket.on('error', () => socket.destroy())
    this.#server.handleUpgrade(request, socket, head, (webSocket) => stream.attach(webSocket))
  }

  close(): void {
    this.#server.close()
  }
}

const streams = new WeakMap<IncomingMessage, SocketStream>()
const requestIds = new WeakMap<IncomingMessage, string>()

/** The client's first choice among those that are known. */
const chosen = (offered: Iterable<string>): string | undefined => {
  for (const name of offered) if (Object.hasOwn(subProtocols, name)) return name
  return undefined
}

/** A WebSocket as the byte stream that its protocol expects. */
class SocketStream extends Duplex {
  readonly #outboundBytes: number
  readonly #draining: () => boolean
  #webSocket: WebSocket | undefined
  /** What was written before the handshake was over. */
  #waiting: (() => void) | undefined

  constructor(outboundBytes: number, draining: () => boolean) {
    super({ allowHalfOpen: true })
    this.#outboundBytes = outboundBytes
    this.#draining = draining
  }

  attach(webSocket: WebSocket): void {
    this.#webSocket = webSocket
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', (data: RawData, binary: boolean) => {
      // [MQTT-6.0.0-1], AMQP WebSocket binding §2.4
      if (!binary) return webSocket.close(UNSUPPORTED_DATA, 'binary messages only')
      if (!this.push(data as Buffer)) webSocket.pause()
    })
    webSocket.on('ping', (data: Buffer) => {
      if (webSocket.bufferedAmount > this.#outboundBytes) webSocket.terminate()
      else webSocket.pong(data)
    })
    webSocket.on('error', () => undefined)
    webSocket.on('close', () => {
      this.push(null)
      this.destroy()
    })
    this.#waiting?.()
    if (this.destroyed) webSocket.terminate()
  }

  override _read(): void {
    if (this.#webSocket?.isPaused) this.#webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#webSocket) {
      this.#waiting = () => this._write(chunk, _encoding, done)
      return
    }
    this.#webSocket.send(chunk, { binary: true }, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#webSocket) {
      this.#waiting = () => this._final(done)
      return
    }
    if (this.#draining()) this.#webSocket.close(RESTART, 'service restart')
    else this.#webSocket.close(NORMAL)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // After a close the handshake has its own time; whoever is destroyed before is cut off.
    if (this.#webSocket && !this.writableFinished) this.#webSocket.terminate()
    done(error)
  }
}

import type net from 'node:net'
import tls from 'node:tls'
import { Fault } from '../model.ts'
import type { Protocol } from '../protocol.ts'

const H2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HTTP1_REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')

interface Waiting {
  resolve(secured: tls.TLSSocket): void
  reject(fault: Fault): void
}

/**
 * TLS on sockets that were accepted elsewhere. A `tls.Server` that never listens does it: only that checks a client's
 * certificate, shares session tickets, and is documented to take foreign sockets.
 */
export class Handshakes {
  readonly #server: tls.Server
  readonly #waiting = new Map<string, Waiting>()

  constructor(
    options: { readonly context: tls.SecureContextOptions; readonly clientAuth: boolean },
    protocols: readonly { readonly protocol: Protocol }[],
  ) {
    this.#server = tls.createServer({
      ...options.context,
      requestCert: options.clientAuth,
      rejectUnauthorized: false, // by us, with a reason
      ALPNCallback: ({ protocols: offered }) => chooseAlpn(offered, protocols),
    })
    this.#server.on('secureConnection', (secured) => {
      secured.on('error', () => secured.destroy())
      this.#waiting.get(ends(secured))?.resolve(secured)
    })
    this.#server.on('tlsClientError', (error, secured) => {
      this.#waiting.get(ends(secured))?.reject(failed(error.message))
    })
  }

  /** @throws Fault 'malformed': failed, or not done by the deadline */
  async shake(socket: net.Socket, deadline: (expire: () => void) => () => void): Promise<tls.TLSSocket> {
    const key = ends(socket)
    let cancel = () => {}
    const onClose = () => this.#waiting.get(key)?.reject(failed('connection closed'))
    try {
      return await new Promise<tls.TLSSocket>((resolve, reject) => {
        this.#waiting.set(key, { resolve, reject })
        cancel = deadline(() => reject(new Fault('malformed', 'TLS handshake took too long')))
        socket.once('close', onClose)
        this.#server.emit('connection', socket)
      })
    } finally {
      cancel()
      socket.off('close', onClose)
      this.#waiting.delete(key)
    }
  }
}

/** Unique among the live connections of a listener. */
const ends = (socket: net.Socket): string =>
  `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`

const failed = (why: string) => new Fault('malformed', `TLS handshake failed: ${why}`)

/**
 * HTTP/1.1 before HTTP/2 where both are offered and served: gRPC offers nothing but `h2`, browsers and curl offer both
 * and want the HTTP API. What nobody here speaks is not chosen; unknown names are left to the first bytes.
 */
const chooseAlpn = (offered: readonly string[], protocols: readonly { readonly protocol: Protocol }[]) => {
  const served = (head: Buffer) => protocols.some(({ protocol }) => protocol.detect?.(head) !== false)
  const open = offered.filter(
    (name) => !(name === 'h2' && !served(H2_PREFACE)) && !(name === 'http/1.1' && !served(HTTP1_REQUEST)),
  )
  return open.find((name) => name === 'http/1.1') ?? open.find((name) => name === 'h2') ?? open[0]
}

import { constants, type ServerHttp2Stream } from 'node:http2'
import type { EpochMs } from '@sluice/core'

/** How its HTTP/2 stream ended: whether everything that was said has left for a peer that still wanted it. */
export type Ending = 'whole' | 'broken'

export interface ExchangeOwner {
  /** Started or stopped being work. */
  worked(change: 1 | -1): void
  /** Bytes of a request that is not worked on yet came, or are not held any more. */
  held(change: number): void
}

/**
 * One HTTP/2 stream: a call, or one that lasts as long as its client (telemetry, a health watch). Work until its stream is
 * closed, that is until the answer has left, but for polls that wait and for those that last.
 */
export class Exchange {
  readonly stream: ServerHttp2Stream
  readonly lasting: boolean
  readonly since: EpochMs
  readonly ended: Promise<Ending>
  /** Set while the answer waits for the peer to take some of it. */
  stalledSince: EpochMs | undefined
  /** Ends our half of a stream that lasts. */
  finish: (() => void) | undefined
  /** Says on the stream that its connection is asked to leave, where there is a word for it. */
  leave: (() => void) | undefined
  readonly #owner: ExchangeOwner
  #held = 0
  #asked = false
  #over = false
  #parked: AbortController | undefined

  constructor(stream: ServerHttp2Stream, lasting: boolean, since: EpochMs, owner: ExchangeOwner) {
    this.stream = stream
    this.lasting = lasting
    this.since = since
    this.#owner = owner
    if (!lasting) owner.worked(1)
    stream.on('data', (chunk: Buffer) => this.#hold(chunk.length))
    this.ended = new Promise((resolve) => {
      stream.once('close', () => {
        this.#over = true
        this.taken()
        this.#parked?.abort()
        if (!lasting && !this.#parked) owner.worked(-1)
        resolve(stream.writableFinished && stream.rstCode === constants.NGHTTP2_NO_ERROR ? 'whole' : 'broken')
      })
    })
  }

  /** Whether the request has not come in full. */
  get asking(): boolean {
    return !this.#asked
  }

  /** Whether nobody waits for the answer any more. */
  get over(): boolean {
    return this.#over
  }

  /** The request has come in full. */
  asked(): void {
    this.#asked = true
  }

  /** The request is worked on: its bytes count no more as waiting. */
  taken(): void {
    this.#asked = true
    this.#owner.held(-this.#held)
    this.#held = 0
  }

  /** A poll waits for messages: no work until `resumed`. The signal: woken by a drain, or nobody waits any more. */
  park(): AbortSignal {
    const parked = new AbortController()
    if (this.#over) parked.abort()
    else {
      this.#parked = parked
      this.#owner.worked(-1)
    }
    return parked.signal
  }

  resumed(): void {
    if (!this.#parked) return
    this.#parked = undefined
    if (!this.#over) this.#owner.worked(1)
  }

  /** Answers a parked poll now. */
  wake(): void {
    this.#parked?.abort()
  }

  cancel(code: number = constants.NGHTTP2_CANCEL): void {
    if (!this.stream.closed) this.stream.close(code)
  }

  #hold(bytes: number): void {
    if (this.lasting || this.#asked) return
    this.#held += bytes
    this.#owner.held(bytes)
  }
}

import type { Link, Peer } from './protocol.ts'

/** A connection, as far as its conversation has to do with it. */
export interface Speaker<Frame> {
  readonly id: string
  readonly peer: Peer
  /** {@link Link.send} */
  say(frame: Frame): boolean
  /** {@link Link.writable} */
  taken(): Promise<void>
  /** {@link Link.end} */
  close(last?: Frame): void
}

/** What a conversation is given of its connection: an object of one word, for there may be a hundred thousand. */
export class Voice<Frame> implements Link<Frame> {
  readonly #speaker: Speaker<Frame>

  constructor(speaker: Speaker<Frame>) {
    this.#speaker = speaker
  }

  get id(): string {
    return this.#speaker.id
  }
  get peer(): Peer {
    return this.#speaker.peer
  }
  send(frame: Frame): boolean {
    return this.#speaker.say(frame)
  }
  writable(): Promise<void> {
    return this.#speaker.taken()
  }
  end(last?: Frame): void {
    this.#speaker.close(last)
  }
}

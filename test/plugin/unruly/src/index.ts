import { type Conversation, Fault, frameProtocol, type Link, type Protocol } from '@sluice/core'

/** What it does on each word: the word itself is the answer where there is one. */
type Word = 'HELLO' | 'THROW' | 'REJECT' | 'GOAWAY' | 'CLOSED' | 'CRASH'

class Unruly implements Conversation<string> {
  readonly unsettled = 0
  readonly #link: Link<string>
  #armed: string | undefined

  constructor(link: Link<string>) {
    this.#link = link
  }

  receive(word: string): void | Promise<void> {
    switch (word as Word) {
      case 'THROW':
        throw new TypeError('thrown in receive')
      case 'REJECT':
        return Promise.reject(new TypeError('rejected by receive'))
      case 'CRASH':
        setTimeout(() => {
          throw new TypeError('thrown by a timer')
        })
        return undefined
      default:
        this.#armed = word
        this.#link.send(word)
        return undefined
    }
  }

  refuse(fault: Fault): string {
    return fault.code
  }

  goAway(): void {
    if (this.#armed === 'GOAWAY') throw new TypeError('thrown in goAway')
  }

  farewell(): undefined {
    return undefined
  }

  closed(): void {
    if (this.#armed === 'CLOSED') throw new TypeError('thrown in closed')
  }
}

/** Words of capital letters, each on a line; begins with `UNRULY`. */
export default function unruly(): Protocol {
  return frameProtocol<string>({
    name: 'unruly',
    detect: (head) => (head.length < 6 ? undefined : head.toString('latin1', 0, 6) === 'UNRULY'),
    codec: () => ({
      encode: (word) => Buffer.from(`${word}\n`),
      decoder() {
        let held = ''
        return {
          get buffered() {
            return held.length
          },
          decode(chunk, emit) {
            const words = (held + chunk.toString('latin1')).split('\n')
            held = words.pop()!
            if (held.length > 100) throw new Fault('tooLarge', 'no word is so long')
            for (const word of words) if (word !== 'UNRULY') emit(word)
          },
        }
      },
    }),
    converse: (link) => new Unruly(link),
  })
}

/** What every producer of the matrix is asked to send. */
export interface Sample {
  /** Position in the run; travels as user property `n`. */
  readonly n: number
  readonly body: Buffer
  readonly tag: string
  readonly keys: readonly string[]
  readonly properties: Readonly<Record<string, string>>
}

const allBytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const emoji = Buffer.from('Grüße, 世界 🌊🚪 ', 'utf8')
const large = Buffer.alloc(64 * 1024)
for (let at = 0; at < large.length; at++) large[at] = (at * 31 + (at >> 8)) & 0xff

const bodies: readonly ((n: number) => Buffer)[] = [
  (n) => Buffer.from([n & 0xff]),
  () => allBytes,
  (n) => Buffer.concat([emoji, Buffer.from(String(n))]),
  (n) => Buffer.from(`plain text ${n}`),
]

/** One in so many is 64 KiB, one is empty where the producer lets that through. */
const LARGE_EVERY = 50

export const samples = (count: number, empty: boolean): readonly Sample[] =>
  Array.from({ length: count }, (_, n) => ({
    n,
    body:
      empty && n === 7 ? Buffer.alloc(0) : n % LARGE_EVERY === LARGE_EVERY - 1 ? large : bodies[n % bodies.length]!(n),
    tag: `tag-${n % 3}`,
    keys: [`key-${n}`, 'common'],
    properties: {
      n: String(n),
      zeta: 'first by order, last by name',
      city: 'Zürich 東京 🌊',
      long: 'x'.repeat(1024),
      alpha: 'last by order, first by name',
    },
  }))

/** What a consumer of the matrix says it got, in the words of the model. */
export interface Received {
  readonly body: Buffer
  readonly tag?: string
  readonly keys?: readonly string[]
  readonly path?: string
  /** User properties, in the order in which the client shows them. */
  readonly properties?: Readonly<Record<string, string>>
  readonly contentType?: string
  readonly id?: string
  /** 1 at first; more only after a lease has expired or a connection was lost. */
  readonly attempt: number
}

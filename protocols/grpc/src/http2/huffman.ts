/** Bits of the code of each byte and of the end-of-string mark, a digit of base 36 each. Source: RFC 7541, appendix B. */
const BITS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6' +
  'f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu'
const END = 256

/** A node of the code's tree: what follows a 0 and a 1; a byte where it ends. */
type Node = [Node | number | undefined, Node | number | undefined]

/** Codes of one length are consecutive, in the order of what they stand for, and follow those that are shorter. */
const tree = (): Node => {
  const root: Node = [undefined, undefined]
  const symbols = [...BITS].map((digit, symbol) => ({ symbol, bits: Number.parseInt(digit, 36) }))
  symbols.sort((one, other) => one.bits - other.bits || one.symbol - other.symbol)
  let code = 0
  let length = 0
  for (const { symbol, bits } of symbols) {
    code *= 2 ** (bits - length)
    length = bits
    let node = root
    for (let bit = bits - 1; bit > 0; bit--) {
      const way = (code >>> bit) & 1
      node = (node[way] ??= [undefined, undefined]) as Node
    }
    node[code & 1] = symbol
    code++
  }
  return root
}

/** Of a step: it is no code. */
const NONE = -1

/**
 * Four bits at a time, of which at most one byte comes out.
 *   steps[16 * state + bits] = next state | (byte + 1) << 8, the second 0 without a byte
 * A text may end in `mayEnd`: what is left is less than a byte of ones.
 */
const machine = (): { readonly steps: Int32Array; readonly mayEnd: ReadonlySet<number> } => {
  const root = tree()
  const states: Node[] = [root]
  const known = new Map<Node, number>([[root, 0]])
  const stateOf = (node: Node): number => {
    const state = known.get(node)
    if (state !== undefined) return state
    known.set(node, states.length)
    return states.push(node) - 1
  }
  const steps = new Int32Array(16 * 256)
  for (let state = 0; state < states.length; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = states[state] as Node
      let symbol: number | undefined
      for (let bit = 3; bit >= 0; bit--) {
        const next = node[(bits >> bit) & 1] as Node | number
        if (typeof next === 'number') symbol = next
        node = typeof next === 'number' ? root : next
      }
      const byte = symbol === undefined ? 0 : (symbol + 1) << 8
      steps[16 * state + bits] = symbol === END ? NONE : stateOf(node) | byte
    }
  }
  const mayEnd = new Set<number>([0])
  for (let node = root[1] as Node, ones = 1; ones < 8; ones++, node = node[1] as Node) mayEnd.add(stateOf(node))
  return { steps, mayEnd }
}

const { steps, mayEnd } = machine()

/** The shortest code has five bits. */
export const unhuffedBytes = (bytes: number): number => Math.ceil((bytes * 8) / 5)

let room = Buffer.allocUnsafeSlow(4_096)

/** The text of `bytes[at, end)`, a character a byte; undefined: no text of this code. */
export const unhuff = (bytes: Buffer, at: number, end: number): string | undefined => {
  const most = unhuffedBytes(end - at)
  if (room.length < most) room = Buffer.allocUnsafeSlow(most)
  let length = 0
  let state = 0
  for (let place = at; place < end; place++) {
    const byte = bytes[place]!
    const high = steps[16 * state + (byte >> 4)]!
    if (high === NONE) return undefined
    if (high > 255) room[length++] = (high >> 8) - 1
    const low = steps[16 * (high & 255) + (byte & 15)]!
    if (low === NONE) return undefined
    if (low > 255) room[length++] = (low >> 8) - 1
    state = low & 255
  }
  return mayEnd.has(state) ? room.toString('latin1', 0, length) : undefined
}

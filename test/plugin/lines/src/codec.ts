import { type Codec, Fault, type Limits } from '@sluice/core'

/**
 *   line = verb *( SP word ) LF      printable ASCII; a body is the rest of its line, other bytes and % as %XX
 *   client: PUB id topic body · SUB id topic group credit · ACK n · RETRY n · DEAD n
 *   server: OK id · ERR id word · MSG n attempt body · BYE
 */
export type Line = readonly string[]

export const codec = (limits: Limits): Codec<Line> => ({
  encode: (line) => Buffer.from(`${line.join(' ')}\n`, 'latin1'),
  decoder() {
    let held: Buffer = Buffer.alloc(0)
    return {
      get buffered() {
        return held.length
      },
      /** @throws Fault 'malformed' for a byte that no line has, 'tooLarge' */
      decode(chunk, emit) {
        held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
        for (let end = held.indexOf(10); end >= 0; end = held.indexOf(10)) {
          if (end > limits.frameBytes) break
          const line = held.toString('latin1', 0, end)
          held = held.subarray(end + 1)
          if (!/^[A-Z]+( [!-~]*)*$/.test(line)) throw new Fault('malformed', 'not a line of words')
          emit(line.split(' '))
        }
        if (held.length > limits.frameBytes) throw new Fault('tooLarge', `line over ${limits.frameBytes} bytes`)
      },
    }
  },
})

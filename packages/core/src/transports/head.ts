import type { Duplex } from 'node:stream'

/** Most bytes that are looked at before a connection must have said what it is. */
const HEAD_MAX = 16 * 1024

/**
 * Collects the first bytes of a stream until `look` has seen enough, then puts them back, so that whoever takes the
 * stream over reads it from its beginning.
 * @returns what `look` returned; undefined when the stream ended, failed, or said nothing in time
 */
export const peek = <T>(
  socket: Duplex,
  look: (head: Buffer) => T | undefined,
  /** Calls back when time is up; the returned function takes that back. */
  deadline: (expire: () => void) => () => void,
): Promise<{ readonly value: T; readonly head: Buffer } | undefined> =>
  new Promise((resolve, reject) => {
    let head: Buffer = Buffer.alloc(0)
    const finish = (settle: () => void, putBack: boolean) => {
      cancel()
      socket.off('readable', onReadable).off('end', onEnd).off('error', onEnd).off('close', onEnd)
      if (putBack && head.length > 0) socket.unshift(head)
      settle()
    }
    const onEnd = () => finish(() => resolve(undefined), false)
    const onReadable = () => {
      try {
        for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
          head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
        }
        if (head.length === 0) return
        const value = look(head)
        if (value !== undefined) finish(() => resolve({ value, head }), true)
        else if (head.length > HEAD_MAX) onEnd()
      } catch (error) {
        finish(() => reject(error as Error), false)
      }
    }
    const cancel = deadline(onEnd)
    socket.on('readable', onReadable).on('end', onEnd).on('error', onEnd).on('close', onEnd)
    onReadable()
  })

/** Frames of the load, made by hand: no part of ours measures itself. */
export const frame = (
  code: number,
  ext: Readonly<Record<string, string>>,
  opaque: number,
  body: Buffer = Buffer.alloc(0),
): Buffer => {
  const header = Buffer.from(
    JSON.stringify({
      code,
      extFields: ext,
      flag: 0,
      language: 'JAVA',
      opaque,
      serializeTypeCurrentRPC: 'JSON',
      version: 497,
    }),
  )
  const head = Buffer.allocUnsafe(8)
  head.writeUInt32BE(4 + header.length + body.length, 0)
  head.writeUInt32BE(header.length, 4)
  return Buffer.concat([head, header, body])
}

/** SEND_MESSAGE_V2 */
export const send = (topic: string, queue: number, opaque: number, body: Buffer): Buffer =>
  frame(
    310,
    {
      a: 'bench',
      b: topic,
      c: 'TBW102',
      d: '4',
      e: String(queue),
      f: '0',
      g: String(Date.now()),
      h: '0',
      i: `UNIQ_KEY\u00017F0000010A1B18B4AAC2${opaque.toString(16).toUpperCase().padStart(12, '0')}\u0002WAIT\u0001true\u0002`,
      j: '0',
      k: 'false',
      m: 'false',
    },
    opaque,
    body,
  )

/** PULL_MESSAGE, which says its filter itself. @param waitMs how long it waits where there is nothing */
export const pull = (topic: string, queue: number, offset: number, max: number, opaque: number, waitMs = 0): Buffer =>
  frame(
    11,
    {
      consumerGroup: 'bench',
      topic,
      queueId: String(queue),
      queueOffset: String(offset),
      maxMsgNums: String(max),
      sysFlag: waitMs > 0 ? '6' : '4',
      commitOffset: '0',
      suspendTimeoutMillis: String(waitMs),
      subscription: '*',
      expressionType: 'TAG',
      subVersion: '0',
    },
    opaque,
  )

export interface Answer {
  readonly code: number
  readonly opaque: number
  readonly text: string
  readonly body: Buffer
}

const number = (text: string, name: string): number => {
  const at = text.indexOf(`"${name}":`)
  return at < 0 ? Number.NaN : Number.parseInt(text.slice(at + name.length + 3), 10)
}

/** Answers in JSON headers, as they come. */
export class Answers {
  #held: Buffer | undefined
  readonly #take: (answer: Answer) => void

  constructor(take: (answer: Answer) => void) {
    this.#take = take
  }

  read(chunk: Buffer): void {
    const bytes = this.#held ? Buffer.concat([this.#held, chunk]) : chunk
    let at = 0
    while (bytes.length - at >= 8) {
      const end = at + 4 + bytes.readUInt32BE(at)
      if (end > bytes.length) break
      const from = at + 8
      const to = from + (bytes.readUInt32BE(at + 4) & 0xffffff)
      const text = bytes.toString('latin1', from, to)
      this.#take({
        code: number(text, 'code'),
        opaque: number(text, 'opaque'),
        text,
        body: bytes.subarray(to, end),
      })
      at = end
    }
    this.#held = at < bytes.length ? bytes.subarray(at) : undefined
  }
}

/** Records of a pull's body: each begins with its size. */
export const countRecords = (body: Buffer): number => {
  let records = 0
  for (let at = 0; at < body.length; at += body.readInt32BE(at)) records++
  return records
}

import { call, type Target } from '../api.ts'
import { CommandError, exit } from '../exit.ts'

export interface SubFlags {
  readonly group: string
  readonly count?: number
  /** Give up after so many ms without a message. */
  readonly timeout?: number
  readonly tag?: string
  readonly json?: boolean
}

interface Received {
  readonly receiptHandle: string
  readonly body: string
  readonly encoding?: 'utf8' | 'base64'
}

const POLL_MS = 20_000

/** Prints messages of a topic as they come, and acknowledges each after it has been printed. */
export const sub = async ({ url }: Target, topic: string, flags: SubFlags): Promise<void> => {
  const base = `${url}/v1/topics/${encodeURIComponent(topic)}/groups/${encodeURIComponent(flags.group)}/messages`
  const post = (action: string, body: object, timeoutMs: number) =>
    call(`${base}:${action}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      timeoutMs,
    })
  let left = flags.count ?? Number.POSITIVE_INFINITY
  let quietSince = Date.now()
  while (left > 0) {
    const patience = flags.timeout === undefined ? POLL_MS : flags.timeout - (Date.now() - quietSince)
    if (patience <= 0) throw new CommandError(exit.timedOut, `no message in ${flags.timeout} ms`)
    const waitMs = Math.min(POLL_MS, patience)
    const reply = (await post(
      'receive',
      {
        maxMessages: Math.min(16, left),
        waitMs,
        invisibleMs: 30_000,
        ...(flags.tag !== undefined && { filter: { tag: flags.tag } }),
      },
      waitMs + 10_000,
    )) as { messages: readonly Received[] }
    if (reply.messages.length === 0) continue
    for (const message of reply.messages) await print(message, flags.json === true)
    await post('ack', { receiptHandles: reply.messages.map(({ receiptHandle }) => receiptHandle) }, 10_000)
    left -= reply.messages.length
    quietSince = Date.now()
  }
}

const print = (message: Received, json: boolean): Promise<void> => {
  const line = json ? JSON.stringify(message) : Buffer.from(message.body, message.encoding ?? 'utf8')
  return new Promise((resolve, reject) => {
    process.stdout.write(Buffer.concat([Buffer.from(line), Buffer.from('\n')]), (error) =>
      error ? reject(error) : resolve(),
    )
  })
}

import type { Gateway, Protocol } from '@sluice/core'
import { encodeFrame, FRAME_BYTES_MAX, type Frame, isResponse, request } from '@sluice/remoting'
import { connect, fakePeer, type Wire } from '@sluice/testkit'
import { remotingCodec } from '../src/codec.ts'

export interface As {
  readonly language?: string
  readonly version?: number
  readonly flag?: number
  readonly binary?: boolean
}

/** A client that matches answers by their opaque, as all clients do. */
export class RemotingClient {
  readonly wire: Wire
  /** Requests of the server. */
  readonly told: Frame[] = []
  /** At a frame that cannot be read, as Java's does. */
  closedItself = false
  /** Called for each of them. */
  asked: ((frame: Frame) => void) | undefined
  readonly #listeners: ((frame: Frame) => void)[] = []
  readonly #waiting = new Map<number, (frame: Frame) => void>()
  #opaque = 0

  constructor(wire: Wire) {
    this.wire = wire
    const decoder = remotingCodec({ frameBytes: FRAME_BYTES_MAX }).decoder()
    wire.socket.on('data', (chunk: Buffer) => {
      try {
        decoder.decode(chunk, (frame) => this.#take(frame))
      } catch {
        this.closedItself = true
        wire.socket.destroy()
      }
    })
  }

  static async connect(protocol: Protocol, gateway: Gateway): Promise<RemotingClient> {
    return new RemotingClient(await connect(protocol, gateway, fakePeer()))
  }

  /** Answers that have not come. */
  get open(): number {
    return this.#waiting.size
  }

  ask(code: number, ext: Record<string, string | number> = {}, body?: Buffer | object, as: As = {}): Promise<Frame> {
    const opaque = ++this.#opaque
    const answer = new Promise<Frame>((resolve) => this.#waiting.set(opaque, resolve))
    this.write(code, opaque, ext, body, as)
    return answer
  }

  tell(code: number, ext: Record<string, string | number> = {}, body?: Buffer | object): void {
    this.write(code, ++this.#opaque, ext, body, { flag: 2 })
  }

  write(code: number, opaque: number, ext: Record<string, string | number>, body?: Buffer | object, as: As = {}): void {
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
    const encoded = encodeFrame({
      code,
      language: as.language ?? 'JAVA',
      version: as.version ?? 479,
      opaque,
      flag: as.flag ?? 0,
      ext: Object.fromEntries(Object.entries(ext).map(([name, value]) => [name, String(value)])),
      ...(bytes && { body: bytes }),
      binary: as.binary ?? false,
    })
    for (const part of Buffer.isBuffer(encoded) ? [encoded] : encoded) this.wire.socket.write(part)
  }

  /** Once, for the next request of the server. */
  onAsked(listener: (frame: Frame) => void): void {
    this.#listeners.push(listener)
  }

  /** Answers a request of the server. */
  answer({ opaque, binary }: Frame, body: Buffer): void {
    const language = 'JAVA'
    const encoded = encodeFrame({ code: 0, language, version: 479, opaque, flag: 1, ext: {}, body, binary })
    for (const part of Buffer.isBuffer(encoded) ? [encoded] : encoded) this.wire.socket.write(part)
  }

  send(topic: string, body: Buffer | string, more: Record<string, string | number> = {}, as: As = {}): Promise<Frame> {
    return this.ask(request.sendMessageV2, sendFields(topic, more), Buffer.from(body), as)
  }

  heartbeat(client: string, consumers: readonly object[] = [], producers: readonly string[] = []): Promise<Frame> {
    return this.ask(request.heartBeat, {}, heartbeatBody(client, consumers, producers))
  }

  pull(topic: string, group: string, more: Record<string, string | number> = {}, as: As = {}): Promise<Frame> {
    return this.ask(request.pullMessage, pullFields(topic, group, more), undefined, as)
  }

  #take(frame: Frame): void {
    if (!isResponse(frame)) {
      this.told.push(frame)
      this.asked?.(frame)
      for (const listener of this.#listeners.splice(0)) listener(frame)
      return
    }
    this.#waiting.get(frame.opaque)?.(frame)
    this.#waiting.delete(frame.opaque)
  }
}

export const sendFields = (topic: string, more: Record<string, string | number> = {}) => ({
  a: 'PG',
  b: topic,
  c: 'TBW102',
  d: 4,
  e: 0,
  f: 0,
  g: 1_700_000_000_000,
  h: 0,
  i: '',
  ...more,
})

export const pullFields = (topic: string, group: string, more: Record<string, string | number> = {}) => ({
  consumerGroup: group,
  topic,
  queueId: 0,
  queueOffset: 0,
  maxMsgNums: 32,
  sysFlag: 0,
  commitOffset: 0,
  suspendTimeoutMillis: 15_000,
  subVersion: 0,
  ...more,
})

export const consumer = (group: string, topics: readonly string[], more: object = {}) => ({
  groupName: group,
  consumeType: 'CONSUME_PASSIVELY',
  messageModel: 'CLUSTERING',
  consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET',
  subscriptionDataSet: topics.map((topic) => ({
    topic,
    subString: '*',
    tagsSet: [],
    codeSet: [],
    subVersion: 1,
    expressionType: 'TAG',
  })),
  ...more,
})

export const heartbeatBody = (
  clientID: string,
  consumers: readonly object[] = [],
  producers: readonly string[] = [],
): object => ({
  clientID,
  producerDataSet: producers.map((groupName) => ({ groupName })),
  consumerDataSet: consumers,
})

export const popFields = (topic: string, group: string, more: Record<string, string | number> = {}) => ({
  consumerGroup: group,
  topic,
  queueId: -1,
  maxMsgNums: 32,
  invisibleTime: 60_000,
  pollTime: 0,
  bornTime: 0,
  initMode: 0,
  ...more,
})

/** The fields of an ACK_MESSAGE or CHANGE_MESSAGE_INVISIBLETIME, as clients make them of a receipt. */
export const receiptFields = (group: string, topic: string, receipt: string) => ({
  consumerGroup: group,
  topic,
  queueId: receipt.split(' ')[6] ?? '',
  offset: receipt.split(' ')[7] ?? '',
  extraInfo: receipt,
})

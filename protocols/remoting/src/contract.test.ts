import { request, splitRecords, viewRecord } from '@sluice/remoting'
import { type Client, contractChecks, type Driver, type Incoming, NotSupported, Refusal } from '@sluice/testkit'
import { describe, it } from 'vitest'
import { consumer, RemotingClient } from '../test/client.ts'
import { remoting } from './index.ts'

/** A consumer as the official ones are: offsets of its own, pulls that wait, an offset committed for what was taken. */
class PullingClient implements Client {
  readonly #client: RemotingClient
  readonly #ready: Incoming[] = []
  #look: (() => void) | undefined
  told = false

  constructor(client: RemotingClient) {
    this.#client = client
  }

  async publish(topic: string, body: Buffer): Promise<void> {
    const { code, remark } = await this.#client.send(topic, body, {}, { version: 459 })
    if (code !== 0) throw new Refusal(`${code} ${remark}`)
  }

  async subscribe(topic: string, group: string): Promise<void> {
    await this.#client.heartbeat('client', [consumer(group, [topic])])
    const { ext, code } = await this.#client.ask(request.queryConsumerOffset, {
      consumerGroup: group,
      topic,
      queueId: 0,
    })
    void this.#pull(topic, group, code === 0 ? Number(ext.offset) : 0)
  }

  async #pull(topic: string, group: string, from: number): Promise<void> {
    const { body, ext } = await this.#client.pull(topic, group, { queueOffset: from, sysFlag: 2, subVersion: 1 })
    for (const record of splitRecords(body ?? Buffer.alloc(0))) {
      const message = viewRecord(record, '')
      this.#ready.push({ body: message.body, handle: { topic, group, offset: message.offset } })
    }
    this.#look?.()
    if (!this.#client.wire.ended) void this.#pull(topic, group, Number(ext.nextBeginOffset))
  }

  async next(): Promise<Incoming> {
    while (this.#ready.length === 0) {
      await new Promise<void>((resolve) => {
        this.#look = resolve
      })
    }
    return this.#ready.shift() as Incoming
  }

  get waiting(): number {
    return this.#ready.length
  }

  async settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    const { topic, group, offset } = handle as { topic: string; group: string; offset: number }
    if (outcome !== 'accept') throw new NotSupported(outcome)
    await this.#client.ask(request.updateConsumerOffset, {
      consumerGroup: group,
      topic,
      queueId: 0,
      commitOffset: offset + 1,
    })
  }

  close(): void {
    this.#client.wire.socket.end()
  }
}

const driver: Driver = {
  name: 'remoting',
  protocol: () => remoting(),
  greet: async (wire) => new PullingClient(new RemotingClient(wire)),
  garbage: Buffer.from('0000000800000004abcdefgh'),
  oversize: (frameBytes) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(frameBytes + 1)
    return length
  },
  declared: {
    credit: 'consumers pull',
    held: 'a pull gives nothing into the hands of a client',
    told: 'only by the answer to a request, and only to clients that understand it',
    retry: 'by place, which the broker in memory does not know',
    dead: 'by place, which the broker in memory does not know',
  },
}

/** Nothing is held, and so nothing is missing when a client is lost. */
const LOST = 'what a lost client held goes to another one at once'

describe('the contract of a protocol', () => {
  const { held: _, ...declared } = driver.declared ?? {}
  const isLost = ({ name }: { name: string }) => name.startsWith(LOST)
  const checks = [
    ...contractChecks(driver).filter((check) => !isLost(check)),
    ...contractChecks({ ...driver, declared }).filter(isLost),
  ]
  for (const { name, run } of checks) it(name, run)
})

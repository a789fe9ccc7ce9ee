import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { DrainPlan } from '@sluice/drain'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { Front } from '../../interop/remoting/front.ts'
import { type BrokerProcess, startBroker } from '../../run/process.ts'

const plan: DrainPlan = { leavingMs: 0, announceMs: 500, settleMs: 5_000 }

/** Two gateways of one broker behind one address, which is all that clients know. */
export class Pair {
  readonly nameserver: string
  readonly #front: Front
  readonly #data: string
  readonly #broker: BrokerProcess
  readonly #gateways: RunningGateway[] = []
  #started = 0

  private constructor(front: Front, data: string, broker: BrokerProcess) {
    this.nameserver = `127.0.0.1:${front.port}`
    this.#front = front
    this.#data = data
    this.#broker = broker
  }

  static async open(): Promise<Pair> {
    const data = mkdtempSync(path.join(tmpdir(), 'sluice-pair-'))
    const broker = await startBroker({ data: path.join(data, 'broker'), listen: '127.0.0.1:0' })
    const pair = new Pair(await Front.open(), data, broker)
    pair.#gateways.push(await pair.#start(), await pair.#start())
    pair.#lead()
    return pair
  }

  /**
   * The older of the two is drained and replaced; new connections go to the other one meanwhile.
   * @returns whether nothing was cut off
   */
  async replaceOlder(): Promise<boolean> {
    const leaving = this.#gateways.shift()!
    this.#lead()
    const { clean } = await leaving.drain(plan)
    this.#gateways.push(await this.#start())
    this.#lead()
    return clean
  }

  async close(): Promise<void> {
    this.#front.close()
    await Promise.all(this.#gateways.map((gateway) => gateway.close()))
    this.#broker.kill('SIGTERM')
    await this.#broker.exited
    rmSync(this.#data, { recursive: true, force: true })
  }

  #lead(): void {
    this.#front.lead(...this.#gateways.map(({ port }) => port))
  }

  #start(): Promise<RunningGateway> {
    return startGateway({
      data: path.join(this.#data, `gateway-${++this.#started}`),
      backend: { brokers: [this.#broker.address] },
      protocols: ['remoting'],
      advertise: this.nameserver,
    })
  }
}

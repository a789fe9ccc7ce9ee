import type { Batch, Delivered } from '@sluice/core'

/** A batch whose messages are looked at only when somebody does. */
export class RecordBatch implements Batch {
  readonly count: number
  readonly #records: readonly Buffer[]
  readonly #deliver: (record: Buffer, index: number) => Delivered

  constructor(records: readonly Buffer[], deliver: (record: Buffer, index: number) => Delivered) {
    this.count = records.length
    this.#records = records
    this.#deliver = deliver
  }

  /** One slice a record, in order. */
  get bytes(): readonly Buffer[] {
    return this.#records
  }

  *[Symbol.iterator](): Iterator<Delivered> {
    for (let index = 0; index < this.count; index++) yield this.#deliver(this.#records[index]!, index)
  }
}

/** A batch of messages that were looked at already. */
export class ViewBatch implements Batch {
  readonly #delivered: readonly Delivered[]

  constructor(delivered: readonly Delivered[]) {
    this.#delivered = delivered
  }

  get count(): number {
    return this.#delivered.length
  }

  get bytes(): readonly Buffer[] {
    return this.#delivered.map(({ message }) => message.record!)
  }

  [Symbol.iterator](): Iterator<Delivered> {
    return this.#delivered[Symbol.iterator]()
  }
}

const nothing = (): never => {
  throw new RangeError('an empty batch')
}
export const emptyBatch: Batch = new RecordBatch([], nothing)

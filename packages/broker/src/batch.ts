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

const nothing = (): never => {
  throw new RangeError('an empty batch')
}
export const emptyBatch: Batch = new RecordBatch([], nothing)

import assert from 'node:assert/strict'
import type { Limits } from '@sluice/core'
import { type Bench, bodyOf, numberOf } from './bench.ts'
import type { Client, Feature } from './driver.ts'

export interface ContractCheck {
  readonly name: string
  /** Without it the check is not expected to pass. */
  readonly needs?: Feature
  readonly limits?: Partial<Limits>
  run(bench: Bench): Promise<void>
}

export const takeNumbers = async (client: Client, count: number): Promise<number[]> => {
  const numbers: number[] = []
  for (let left = count; left > 0; left--) {
    const incoming = await client.next()
    numbers.push(numberOf(incoming.body))
    await client.settle(incoming, 'accept')
  }
  return numbers
}

export const publishAll = async (client: Client, topic: string, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await client.publish(topic, bodyOf(n))
}

export const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

export const serves = async (bench: Bench, what: string): Promise<void> => {
  const before = bench.gateway.messages(bench.topic).length
  const client = await bench.client()
  await client.publish(bench.topic, bodyOf(99))
  assert.equal(bench.gateway.messages(bench.topic).length, before + 1, `${what}: another connection is not served`)
}

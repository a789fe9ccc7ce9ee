import assert from 'node:assert/strict'
import { BACKOFF_MS, GROUP, numberOf } from './bench.ts'
import { type ContractCheck, publishAll, takeNumbers, upTo } from './check.ts'

export const messages: readonly ContractCheck[] = [
  {
    name: 'a publish is acknowledged after the broker has it, and its body arrives byte for byte',
    async run(bench) {
      const client = await bench.client()
      const hold = bench.gateway.hold('publish')
      const body = Buffer.from([...'bytes: '].map((char) => char.charCodeAt(0)).concat([0, 10, 13, 37, 127, 128, 255]))
      let acknowledged = false
      const publishing = client.publish(bench.topic, body).then(() => (acknowledged = true))
      await bench.eventually('the publish reaches the broker', () => hold.waiting === 1)
      await bench.quiet()
      assert.equal(acknowledged, false, 'acknowledged before the broker had answered')
      hold.release()
      await publishing
      assert.deepEqual(bench.gateway.messages(bench.topic)[0]?.body, body)
    },
  },
  {
    name: 'what is published is received, in the order of its queue',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 10)
      await publishAll(await bench.client(), bench.topic, 40)
      assert.deepEqual(await takeNumbers(consumer, 40), upTo(40))
    },
  },
  {
    name: 'what is accepted does not come again',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 10)
      await publishAll(await bench.client(), bench.topic, 3)
      await takeNumbers(consumer, 3)
      consumer.wire.destroy()
      await consumer.wire.closed
      await bench.quiet()
      const other = await bench.client()
      await other.subscribe(bench.topic, GROUP, 10)
      await bench.elapse(2 * BACKOFF_MS)
      assert.equal(other.waiting, 0, 'came again although it was accepted')
    },
  },
  {
    name: 'what is refused comes again',
    needs: 'retry',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 1)
      await publishAll(await bench.client(), bench.topic, 1)
      await consumer.settle(await consumer.next(), 'retry')
      const again = consumer.next()
      await bench.elapse(2 * BACKOFF_MS)
      assert.equal(numberOf((await again).body), 0)
    },
  },
  {
    name: 'what is dead comes no more and lies with the dead letters',
    needs: 'dead',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 1)
      await publishAll(await bench.client(), bench.topic, 1)
      await consumer.settle(await consumer.next(), 'dead')
      await bench.elapse(2 * BACKOFF_MS)
      assert.equal(consumer.waiting, 0, 'came again although it was dead')
      const buried = bench.gateway.of('settle').filter(({ outcome }) => outcome.kind === 'dead')
      assert.equal(buried.length, 1, 'the broker was not told that it is dead')
    },
  },
  {
    name: 'credit is never exceeded, and a settlement gives it back',
    needs: 'credit',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 3)
      await publishAll(await bench.client(), bench.topic, 10)
      await bench.eventually('three deliveries come', () => consumer.waiting >= 3)
      await bench.quiet()
      assert.equal(consumer.waiting, 3, `${consumer.waiting} deliveries with a credit of 3`)
      await consumer.settle(await consumer.next(), 'accept')
      await bench.eventually('a settlement makes room for one more', () => consumer.waiting === 3)
      await bench.quiet()
      assert.equal(consumer.waiting, 3)
    },
  },
  {
    name: 'what a lost client held goes to another one at once',
    needs: 'held',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 5)
      await publishAll(await bench.client(), bench.topic, 3)
      for (let n = 0; n < 3; n++) await consumer.next()
      const other = await bench.client()
      await other.subscribe(bench.topic, GROUP, 5)
      consumer.wire.destroy()
      assert.deepEqual((await takeNumbers(other, 3)).sort(), [0, 1, 2])
    },
  },
]

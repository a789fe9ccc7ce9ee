import assert from 'node:assert/strict'
import { bodyOf, GROUP, numberOf } from './bench.ts'
import { type ContractCheck, serves, takeNumbers, upTo } from './check.ts'

export const limits: readonly ContractCheck[] = [
  {
    name: 'no more requests are worked on at once than limits.inflight',
    needs: 'pipelining',
    limits: { inflight: 4, sessionInflight: 4 },
    async run(bench) {
      const client = await bench.client()
      const hold = bench.gateway.hold('publish')
      // What came in one read may go on in one command.
      const atWork = () => bench.gateway.of('publish').reduce((sum, { messages }) => sum + messages.length, 0)
      const publishing = upTo(12).map((n) => client.publish(bench.topic, bodyOf(n)))
      await bench.eventually('four publishes reach the broker', () => atWork() >= 4)
      await bench.quiet()
      assert.equal(atWork(), 4, `${atWork()} publishes at once with a limit of 4`)
      hold.release()
      await Promise.all(publishing)
      assert.deepEqual(
        bench.gateway
          .messages(bench.topic)
          .map(({ body }) => numberOf(body))
          .sort((a, b) => a - b),
        upTo(12),
      )
    },
  },
  {
    name: 'a reader that does not read is not sent more than limits.outboundBytes, and loses nothing',
    needs: 'push',
    limits: { outboundBytes: 64 * 1024 },
    async run(bench) {
      const count = 250
      const pad = 'x'.repeat(8 * 1024)
      const consumer = await bench.client(16 * 1024)
      await consumer.subscribe(bench.topic, GROUP, 1000)
      await bench.quiet()
      consumer.wire.socket.pause()
      const producer = await bench.client()
      for (let n = 0; n < count; n++) await producer.publish(bench.topic, Buffer.from(`message-${n} ${pad}`))
      await bench.quiet()
      const held = bench.gateway.given
      assert.ok(
        held < count / 2,
        `${held} of ${count} messages were taken from the broker for a reader that does not read`,
      )
      consumer.wire.socket.resume()
      assert.deepEqual(await takeNumbers(consumer, count), upTo(count))
    },
  },
  {
    name: 'a request over limits.frameBytes ends its connection and no other',
    limits: { frameBytes: 256 * 1024, bodyBytes: 128 * 1024 },
    async run(bench) {
      const client = await bench.client()
      const { wire } = client
      wire.socket.resume()
      wire.write(bench.driver.oversize(256 * 1024))
      await bench.eventually('the connection with the large request ends', () => wire.ended)
      assert.equal(bench.gateway.of('publish').length, 0, 'the broker saw the large request')
      await serves(bench, 'after a large request')
    },
  },
  {
    name: 'garbage ends its connection and no other',
    async run(bench) {
      const wire = bench.wire()
      wire.write(bench.driver.garbage)
      await bench.eventually('the connection with garbage ends', () => wire.ended)
      await serves(bench, 'after garbage')
    },
  },
]

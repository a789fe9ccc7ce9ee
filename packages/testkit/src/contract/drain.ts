import assert from 'node:assert/strict'
import { bodyOf, GROUP } from './bench.ts'
import { type ContractCheck, publishAll, takeNumbers } from './check.ts'

export const drain: readonly ContractCheck[] = [
  {
    name: 'a connection that was told to go away says so to its client',
    needs: 'told',
    async run(bench) {
      const client = await bench.client()
      await bench.quiet()
      bench.connection().goAway('draining')
      await bench.eventually('the client is told', () => client.told)
    },
  },
  {
    name: 'a connection that was told to go away serves what still arrives, then closes',
    async run(bench) {
      const client = await bench.client()
      await client.publish(bench.topic, bodyOf(0))
      const connection = bench.connection()
      const state = () => connection.state
      assert.equal(state(), 'serving')
      connection.goAway('draining')
      await bench.quiet()
      // A protocol may end an idle connection by itself, and soon.
      if (client.wire.ended || state() === 'closed') return
      assert.equal(state(), 'told')
      await client.publish(bench.topic, bodyOf(1))
      assert.equal(bench.gateway.messages(bench.topic).length, 2)
      await bench.eventually('nothing is in flight', () => connection.busy === 0)
      connection.end(false)
      await bench.eventually('the connection closes', () => client.wire.ended)
    },
  },
  {
    name: 'a connection with work in flight is busy and not ended without force',
    async run(bench) {
      const client = await bench.client()
      const hold = bench.gateway.hold('publish')
      const publishing = client.publish(bench.topic, bodyOf(0))
      await bench.eventually('the publish reaches the broker', () => hold.waiting === 1)
      const connection = bench.connection()
      assert.ok(connection.busy > 0, 'not busy with a publish in flight')
      connection.goAway('draining')
      connection.end(false)
      await bench.quiet()
      assert.equal(client.wire.ended, false, 'ended with a publish in flight')
      hold.release()
      await publishing
    },
  },
  {
    name: 'a connection that is told takes no new messages; what it holds goes back when it is forced',
    needs: 'held',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 2)
      const producer = await bench.client()
      await publishAll(producer, bench.topic, 2)
      await consumer.next()
      await consumer.next()
      const [connection] = bench.connections()
      assert.ok(connection!.busy >= 2, 'deliveries without a word do not count as work')
      for (const one of bench.connections()) one.goAway('draining')
      await bench.quiet()
      connection!.end(true)
      await bench.eventually('the consumer is gone', () => consumer.wire.ended)
      consumer.wire.destroy()
      const other = await bench.client()
      await other.subscribe(bench.topic, GROUP, 5)
      assert.deepEqual((await takeNumbers(other, 2)).sort(), [0, 1])
    },
  },
  {
    name: 'closing the server ends every connection, every session and every waiting poll',
    async run(bench) {
      const consumer = await bench.client()
      await consumer.subscribe(bench.topic, GROUP, 5)
      const idle = await bench.client()
      await bench.quiet()
      await bench.server.close()
      await bench.eventually('both connections end', () => consumer.wire.ended && idle.wire.ended)
      consumer.wire.destroy()
      idle.wire.destroy()
      await bench.eventually('no connection is listed', () => bench.connections().length === 0)
      await bench.eventually('no session is left', () => bench.gateway.sessions.size === 0)
      await bench.eventually('no poll is left', () => bench.gateway.parked === 0)
    },
  },
  {
    name: 'a client that vanishes leaves no session, no poll and no connection behind',
    async run(bench) {
      for (let n = 0; n < 5; n++) {
        const consumer = await bench.client()
        await consumer.subscribe(bench.topic, GROUP, 5)
        consumer.wire.destroy()
      }
      bench.wire().destroy()
      await bench.eventually('no connection is listed', () => bench.connections().length === 0)
      await bench.eventually('no session is left', () => bench.gateway.sessions.size === 0)
      await bench.eventually('no poll is left', () => bench.gateway.parked === 0)
    },
  },
]

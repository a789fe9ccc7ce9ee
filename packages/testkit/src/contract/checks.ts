import assert from 'node:assert/strict'
import { Fault, type FaultCode, type Gateway, type Limits } from '@sluice/core'
import { BACKOFF_MS, type Bench, bodyOf, GROUP, numberOf } from './bench.ts'
import { type Client, type Feature, Refusal } from './driver.ts'

export interface ContractCheck {
  readonly name: string
  /** Without it the check is not expected to pass. */
  readonly needs?: Feature
  readonly limits?: Partial<Limits>
  run(bench: Bench): Promise<void>
}

const takeNumbers = async (client: Client, count: number): Promise<number[]> => {
  const numbers: number[] = []
  for (let left = count; left > 0; left--) {
    const incoming = await client.next()
    numbers.push(numberOf(incoming.body))
    await client.settle(incoming, 'accept')
  }
  return numbers
}

const publishAll = async (client: Client, topic: string, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await client.publish(topic, bodyOf(n))
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

const serves = async (bench: Bench, what: string): Promise<void> => {
  const before = bench.gateway.messages(bench.topic).length
  const client = await bench.client()
  await client.publish(bench.topic, bodyOf(99))
  assert.equal(bench.gateway.messages(bench.topic).length, before + 1, `${what}: another connection is not served`)
}

const messages: readonly ContractCheck[] = [
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

const limits: readonly ContractCheck[] = [
  {
    name: 'no more requests are worked on at once than limits.inflight',
    needs: 'pipelining',
    limits: { inflight: 4, sessionInflight: 4 },
    async run(bench) {
      const client = await bench.client()
      const hold = bench.gateway.hold('publish')
      const publishing = upTo(12).map((n) => client.publish(bench.topic, bodyOf(n)))
      await bench.eventually('four publishes reach the broker', () => hold.waiting >= 4)
      await bench.quiet()
      assert.equal(hold.waiting, 4, `${hold.waiting} publishes at once with a limit of 4`)
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

const codes: readonly FaultCode[] = [
  'invalid',
  'forbidden',
  'topicNotFound',
  'throttled',
  'unavailable',
  'outcomeUnknown',
]

const faults: readonly ContractCheck[] = [
  {
    name: 'a publish that failed is refused in words, and the next one goes through',
    needs: 'refusal',
    async run(bench) {
      for (const code of codes) {
        const client = await bench.client()
        bench.gateway.failNext('publish', new Fault(code, 'planted'))
        await assert.rejects(client.publish(bench.topic, bodyOf(1)), Refusal, `${code} was not refused`)
        client.close()
      }
      await serves(bench, 'after refusals')
    },
  },
  {
    name: 'a publish that failed is never acknowledged',
    async run(bench) {
      for (const code of codes) {
        const client = await bench.client()
        bench.gateway.failNext('publish', new Fault(code, 'planted'))
        let acknowledged = false
        const before = bench.gateway.of('publish').length
        const publishing = client.publish(bench.topic, bodyOf(1)).then(() => (acknowledged = true))
        publishing.catch(() => undefined)
        await bench.eventually(
          `the publish for ${code} reaches the broker`,
          () => bench.gateway.of('publish').length > before,
        )
        await bench.quiet()
        assert.equal(acknowledged && !mayAcknowledge(code), false, `${code} was acknowledged`)
        client.wire.destroy()
      }
    },
  },
  {
    name: 'the text of an internal failure reaches no client',
    async run(bench) {
      const client = await bench.client()
      const bytes: Buffer[] = []
      client.wire.socket.on('data', (chunk: Buffer) => bytes.push(chunk))
      bench.gateway.failNext('publish', new Error('secret words'))
      client.publish(bench.topic, bodyOf(1)).catch(() => undefined)
      await bench.eventually('the publish reaches the broker', () => bench.gateway.of('publish').length > 0)
      await bench.quiet()
      assert.equal(Buffer.concat(bytes).includes('secret words'), false, 'the text was sent to the client')
      await serves(bench, 'after an internal failure')
    },
  },
]

/** Final refusals may be dropped and acknowledged where a wire has no negative acknowledgement (MQTT 3.1.1). */
const mayAcknowledge = (code: FaultCode) => code === 'invalid' || code === 'forbidden' || code === 'topicNotFound'

const drain: readonly ContractCheck[] = [
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
      assert.equal(connection.state, 'serving')
      connection.goAway('draining')
      await bench.quiet()
      assert.equal(connection.state, 'told')
      if (client.wire.ended) return // a protocol may end an idle connection at once
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

/** From here on calls of this name throw, until the returned function is called. */
const sabotage = (gateway: Gateway, name: 'context' | 'release' | 'pump' | 'handle'): (() => void) => {
  const before = gateway[name]
  const broken = () => {
    throw new TypeError('planted bug')
  }
  Object.assign(gateway, { [name]: broken })
  return () => void Object.assign(gateway, { [name]: before })
}

const isolation: readonly ContractCheck[] = [
  {
    name: 'a throw while a request is served costs at most its connection',
    async run(bench) {
      const bystander = await bench.client()
      for (const name of ['context', 'handle'] as const) {
        const client = await bench.client()
        await bench.quiet()
        const restore = sabotage(bench.gateway, name)
        client.publish(bench.topic, bodyOf(0)).catch(() => undefined)
        await bench.quiet()
        restore()
        client.wire.destroy()
      }
      bench.gateway.failNext('publish', new TypeError('planted bug'))
      const client = await bench.client()
      client.publish(bench.topic, bodyOf(0)).catch(() => undefined)
      await bench.quiet()
      await bystander.publish(bench.topic, bodyOf(1))
      assert.equal(bench.gateway.messages(bench.topic).length, 1)
    },
  },
  {
    name: 'a throw while a connection closes keeps no one else from closing',
    async run(bench) {
      const client = await bench.client()
      const bystander = await bench.client()
      await client.publish(bench.topic, bodyOf(0))
      const restore = sabotage(bench.gateway, 'release')
      client.wire.destroy()
      await bench.eventually('the connection is not listed any more', () => bench.connections().length === 1)
      await bench.quiet()
      restore()
      await bystander.publish(bench.topic, bodyOf(1))
      await bench.server.close()
      assert.equal(bench.connections().length, 0)
    },
  },
]

export const contract: readonly ContractCheck[] = [...messages, ...limits, ...faults, ...drain, ...isolation]

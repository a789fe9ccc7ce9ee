import assert from 'node:assert/strict'
import { Fault, type FaultCode } from '@sluice/core'
import { bodyOf } from './bench.ts'
import { type ContractCheck, serves } from './check.ts'
import { Refusal } from './driver.ts'

const codes: readonly FaultCode[] = [
  'invalid',
  'forbidden',
  'topicNotFound',
  'throttled',
  'unavailable',
  'outcomeUnknown',
]

/** Final refusals may be dropped and acknowledged where a wire has no negative acknowledgement (MQTT 3.1.1). */
const mayAcknowledge = (code: FaultCode) => code === 'invalid' || code === 'forbidden' || code === 'topicNotFound'

export const faults: readonly ContractCheck[] = [
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

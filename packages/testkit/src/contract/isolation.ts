import assert from 'node:assert/strict'
import type { Gateway } from '@sluice/core'
import { bodyOf } from './bench.ts'
import type { ContractCheck } from './check.ts'

/** From here on calls of this name throw, until the returned function is called. */
const sabotage = (gateway: Gateway, name: 'context' | 'release' | 'pump' | 'handle'): (() => void) => {
  const before = gateway[name]
  const broken = () => {
    throw new TypeError('planted bug')
  }
  Object.assign(gateway, { [name]: broken })
  return () => void Object.assign(gateway, { [name]: before })
}

export const isolation: readonly ContractCheck[] = [
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

import { hostileLimits, hostileRows, missingEvents, playHostile } from '@sluice/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Served, serve } from '../test/harness.ts'

const rows = hostileRows(new URL('../fixtures/hostile.json', import.meta.url)).filter(
  ({ port = 'plain', client = 'tcp' }) => port === 'plain' && client === 'tcp',
)

describe('hostile clients', () => {
  let served: Served
  beforeAll(async () => {
    served = await serve({ limits: hostileLimits, autoCreate: false, topics: ['known'] }, { shared: true })
  })
  afterAll(() => served.close())

  // Side by side: most of them wait for a deadline.
  it.concurrent.each(rows.map((row) => [row.name, row] as const))('%s', async (_, row) => {
    const { port } = served
    await playHostile(row, { host: '127.0.0.1', ports: { plain: port, tls: port, proxy: port } })
  })

  it('leave the lines that they should, and nothing behind', async () => {
    const { gateway, server, base } = served
    const logged = gateway.logs.map(({ event, fields }) => ({ event, code: fields.code }))
    expect(missingEvents(rows, logged)).toEqual([])
    expect(gateway.logs.filter(({ level }) => level === 'error')).toEqual([])
    expect(gateway.of('publish')).toEqual([expect.objectContaining({ kind: 'publish' })]) // the unknown topic
    expect((await fetch(`${base}/openapi.json`)).status).toBe(200)
    expect([...server.connections()].filter(({ busy }) => busy > 0)).toEqual([])
  })
})

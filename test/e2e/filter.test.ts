import { readFileSync } from 'node:fs'
import net from 'node:net'
import { compileFilter } from '@sluice/core'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { splitRecords, viewRecord } from '@sluice/remoting'
import { Wire } from '@sluice/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RemotingClient } from '../../protocols/remoting/test/client.ts'

interface Answer {
  readonly messages?: readonly { readonly body: string }[]
  readonly detail?: string
  readonly code?: string
}

describe('SQL92 filters over the broker', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway({
      protocols: ['http', 'remoting'],
      backend: { embedded: { queues: 1, flush: 'async' } },
    })
    await publish('1', { 'x-mq-property-colour': 'red', 'x-mq-property-size': '5', 'x-mq-tag': 'A' })
    await publish('2', { 'x-mq-property-colour': 'blue', 'x-mq-property-size': '10' })
    await publish('3', { 'x-mq-property-colour': 'red', 'x-mq-key': 'k1' })
    await publish('4', { 'x-mq-tag': 'B', 'x-mq-property-size': '7.5' })
  })
  afterAll(() => gateway?.close())

  const publish = (body: string, headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${gateway.port}/v1/topics/things/messages`, { method: 'POST', body, headers })
  const receive = async (group: string, filter: object | undefined, waitMs = 0) => {
    const answer = await fetch(`http://127.0.0.1:${gateway.port}/v1/topics/things/groups/${group}/messages:receive`, {
      method: 'POST',
      body: JSON.stringify({ maxMessages: 32, waitMs, invisibleMs: 60_000, ...(filter && { filter }) }),
    })
    return { status: answer.status, ...((await answer.json()) as Answer) }
  }

  let groups = 0
  it.each([
    ["colour = 'red'", ['1', '3']],
    ["colour <> 'red'", ['2']],
    ['size > 5', ['2', '4']],
    ['size BETWEEN 5 AND 7.5', ['1', '4']],
    ["TAGS IN ('A', 'B') AND size < 6", ['1']],
    ["KEYS = 'k1' OR colour IS NULL", ['3', '4']],
    ["NOT colour LIKE 'r%'", ['2']],
    ['nothing = 1', []],
  ])('a pop gets what passes: %s', async (sql, bodies) => {
    const { status, messages } = await receive(`g${++groups}`, { sql })
    expect([status, messages?.map(({ body }) => body)]).toEqual([200, bodies])
  })

  it('a pop that waits is woken by what passes, not by the rest', async () => {
    const waiting = receive('waiting', { sql: 'size = 99' }, 10_000)
    await publish('98', { 'x-mq-property-size': '98' })
    await publish('99', { 'x-mq-property-size': '99' })
    expect((await waiting).messages?.map(({ body }) => body)).toEqual(['99'])
  })

  it('what is no filter is refused, with the position', async () => {
    expect(await receive('bad', { sql: 'size >' })).toMatchObject({
      status: 400,
      code: 'invalid',
      detail: expect.stringContaining('position 7: expected a name, a text, a number or ('),
    })
  })

  it('a pull reads what passes and goes on behind what does not', async () => {
    const client = new RemotingClient(new Wire(net.connect(gateway.port, '127.0.0.1')))
    const subscription = { subscription: "colour = 'red'", expressionType: 'SQL92', sysFlag: 4 }
    const { body, ext } = await client.pull('things', 'puller', subscription)
    expect(splitRecords(body!).map((record) => String(viewRecord(record, '').body))).toEqual(['1', '3'])
    expect(Number(ext?.nextBeginOffset)).toBeGreaterThanOrEqual(4)
    client.wire.socket.destroy()
  })
})

describe('docs/filters.md', () => {
  const page = readFileSync(new URL('../../docs/filters.md', import.meta.url), 'utf8')
  const examples = page
    .split('```')[1]!
    .trim()
    .split(/\n| {3,}/)
  it.each(examples)('shows what compiles: %s', (expression) => {
    expect(compileFilter({ kind: 'sql92', expression })({ properties: {} })).toBe(false)
  })
})

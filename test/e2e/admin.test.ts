import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import { connectAsync } from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'

let gateway: RunningGateway
const noWait = { leavingMs: 0, announceMs: 0, settleMs: 0 }
const start = async (more: Parameters<typeof startGateway>[0] = {}) => {
  gateway = await startGateway({ protocols: ['http', 'mqtt'], drain: noWait, ...more })
  return gateway
}
afterEach(() => gateway?.close())

const admin = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${gateway.adminPort}${path}`, { ...init, headers: { connection: 'close', ...init.headers } })

/** Lines of the Prometheus text format as families: name, type, samples. */
const families = (text: string) => {
  const found = new Map<string, { help: boolean; type: string; samples: string[] }>()
  let current = ''
  for (const line of text.split('\n')) {
    const [, what, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (what === 'HELP') found.set((current = name!), { help: rest!.length > 0, type: '', samples: [] })
    else if (what === 'TYPE') found.get(name!)!.type = rest!
    else if (line !== '') found.get(current)!.samples.push(line)
  }
  return found
}
const LABELS: ReadonlySet<string> = new Set(
  'protocol command outcome state phase name version node quantile from to field le'.split(' '),
)

describe('the admin port', () => {
  it('tells metrics that a scraper understands, of everything that happened', async () => {
    await start()
    const client = await connectAsync(`mqtt://127.0.0.1:${gateway.port}`)
    await client.publishAsync('m', 'x', { qos: 1, retain: false })
    await fetch(`http://127.0.0.1:${gateway.port}/v1/topics/m/groups/g/messages:receive`, {
      method: 'POST',
      body: '{}',
    })
    const poll = fetch(`http://127.0.0.1:${gateway.port}/v1/topics/m/groups/h/messages:receive`, {
      method: 'POST',
      body: '{"waitMs":10000,"filter":{"tag":"none"}}',
    })
    const parked = /sluice_parked_polls\{protocol="http"\} 1\n/
    for (let tries = 0; tries < 100; tries++) if (parked.test(await (await admin('/metrics')).text())) break
    const answer = await admin('/metrics')
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const text = await answer.text()
    expect(text).toMatch(parked)
    expect(text).toMatch(/sluice_messages_in_total\{protocol="mqtt"\} 1\n/)
    expect(text).toMatch(/sluice_connections\{protocol="mqtt",state="serving"\} 1\n/)
    expect(text).toMatch(/sluice_topics [1-9]/)
    expect(text).toMatch(/sluice_drain_phase\{phase="serving"\} 1\n/)
    expect(text).toMatch(/sluice_drain_connections_remaining\{protocol="mqtt"\} 0\n/)
    expect(text).toMatch(/process_event_loop_delay_seconds\{quantile="0.99"\} [0-9.e-]+\n/)
    for (const [name, { help, type, samples }] of families(text)) {
      expect(name).toMatch(/^(sluice|process)_[a-z_]+$/)
      expect([name, help, /^(counter|gauge|histogram)$/.test(type)]).toEqual([name, true, true])
      expect([name, type === 'counter']).toEqual([name, name.endsWith('_total')])
      for (const sample of samples) {
        const [, family, labels = '', value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(sample) ?? []
        const suffix = type === 'histogram' ? '(_bucket|_sum|_count)' : ''
        expect(family).toMatch(new RegExp(`^${name}${suffix}$`))
        expect(Number.isFinite(Number(value))).toBe(true)
        for (const [, label] of labels.matchAll(/(\w+)="/g))
          expect([sample, LABELS.has(label!)]).toEqual([sample, true])
      }
    }
    await client.endAsync()
    await gateway.close()
    expect((await poll).status).toBe(200)
  })

  it('drains when told to, answers with the verdict, and its own connections do not hold it', async () => {
    await start({ drain: { leavingMs: 0, announceMs: 0, settleMs: 20_000 } })
    const client = await connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { reconnectPeriod: 0 })
    const idle = net.connect(gateway.adminPort, '127.0.0.1')
    idle.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(idle, 'data')
    const half = net.connect(gateway.adminPort, '127.0.0.1')
    half.write('PUT /v1/topics/t HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{')
    const ended = Promise.all([once(idle, 'close'), once(half, 'close')])
    const began = performance.now()
    const asked = admin('/v1/drain', { method: 'POST' })
    await new Promise<void>((resolve) => client.once('close', resolve))
    const answer = await asked
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      clean: true,
      byProtocol: { mqtt: { told: 1, obeyed: 1, forced: 0 }, http: { told: 0 } },
    })
    expect(performance.now() - began).toBeLessThan(10_000)
    await gateway.drained
    await ended
    client.end(true)
    await expect(admin('/livez')).rejects.toThrow()
  })

  it('says that it is leaving while it still serves, and can be asked to hurry', async () => {
    await start({ drain: { leavingMs: 60_000, announceMs: 0, settleMs: 0 } })
    expect((await admin('/readyz')).status).toBe(200)
    const asked = admin('/v1/drain', { method: 'POST' })
    while ((await admin('/readyz')).status === 200);
    expect(await (await admin('/readyz')).json()).toEqual({ status: 'draining', phase: 'leaving' })
    expect((await admin('/livez')).status).toBe(200)
    expect(
      (await fetch(`http://127.0.0.1:${gateway.port}/v1/topics/t/messages`, { method: 'POST', body: 'x' })).status,
    ).toBe(201)
    const closing = gateway.close()
    expect(await (await asked).json()).toMatchObject({ byProtocol: { http: {} } })
    await closing
  })

  it('is not for the pages of a browser', async () => {
    await start()
    const answer = await admin('/v1/drain', { method: 'POST', headers: { origin: 'https://example.com' } })
    expect([answer.status, await answer.json()]).toMatchObject([403, { code: 'forbidden' }])
    expect(await (await admin('/v1/drain')).json()).toEqual({ phase: 'serving' })
  })

  it('is refused beyond this machine unless that is wanted', async () => {
    await expect(startGateway({ admin: { host: '0.0.0.0', port: 0 } })).rejects.toThrow(
      /^admin: host is not on loopback, .* insecure: true/,
    )
    await start({ admin: { host: '0.0.0.0', port: 0, insecure: true } })
    expect((await admin('/livez')).status).toBe(200)
  })

  it('a body that is too large is refused in words', async () => {
    await start()
    const answer = await admin('/v1/topics/t', { method: 'PUT', body: 'x'.repeat(1024 * 1024) })
    expect([answer.status, await answer.json()]).toMatchObject([413, { code: 'tooLarge' }])
  })

  it('keeps topics', async () => {
    await start()
    const put = await admin('/v1/topics/orders', { method: 'PUT', body: '{"queues":2,"type":"fifo"}' })
    expect([put.status, await put.json()]).toEqual([200, { topic: 'orders', queues: 2, type: 'fifo' }])
    expect(await (await admin('/v1/topics/orders')).json()).toMatchObject({ topic: 'orders', queues: 2, type: 'fifo' })
    expect(JSON.stringify(await (await admin('/v1/topics')).json())).toContain('"orders"')
    expect((await admin('/v1/topics/orders', { method: 'DELETE' })).status).toBe(200)
    expect((await admin('/v1/topics/orders')).status).toBe(404)
    expect((await admin('/v1/topics/orders', { method: 'DELETE' })).status).toBe(404)
    expect((await admin(`/v1/topics/${encodeURIComponent('a/b c')}`, { method: 'PUT' })).status).toBe(400)
  })

  it('answers HEAD as GET, without a body', async () => {
    await start()
    const call = http.request({
      host: '127.0.0.1',
      port: gateway.adminPort,
      path: '/readyz',
      method: 'HEAD',
      agent: false,
    })
    call.end()
    const [answer] = (await once(call, 'response')) as [http.IncomingMessage]
    expect([answer.statusCode, Number(answer.headers['content-length']) > 0]).toEqual([200, true])
    answer.resume()
    await once(answer, 'end')
  })

  it('shows the bounds that are configured, which hold down to the store', async () => {
    const bodyBytes = 6 * 1024 * 1024
    await start({ limits: { bodyBytes, frameBytes: bodyBytes + 1024 * 1024 } })
    expect(await (await admin('/metrics')).text()).toContain(`sluice_limit{name="bodyBytes"} ${bodyBytes}\n`)
    const publish = (bytes: number) =>
      fetch(`http://127.0.0.1:${gateway.port}/v1/topics/large/messages`, { method: 'POST', body: Buffer.alloc(bytes) })
    expect((await publish(bodyBytes)).status).toBe(201)
    expect((await publish(bodyBytes + 1)).status).toBe(413)
  })
})

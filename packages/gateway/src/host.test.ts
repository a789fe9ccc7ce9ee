import { type Context, type Credentials, defaultLimits, Fault, type Handle, Sessions, Wheel } from '@sluice/core'
import { fakeClock } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { Host, type HostParts } from './host.ts'

const credentials = (local = '192.0.2.1', port = 8081): Credentials => ({
  protocol: 'p',
  client: 'c',
  language: '',
  version: 0,
  peer: { address: '198.51.100.1', port: 1, secure: false, local: { address: local, port } },
})

const setUp = (more: Partial<HostParts> = {}) => {
  const clock = fakeClock()
  const commands: { readonly command: unknown; readonly context: Context }[] = []
  const logged: unknown[] = []
  const note = (event: string, fields?: object) => void logged.push([event, fields])
  const sessions = new Sessions('me')
  const host = new Host({
    pipeline: (async (command: unknown, context: Context) => {
      commands.push({ command, context })
      return {}
    }) as unknown as Handle,
    sessions,
    limits: { ...defaultLimits, connections: 2 },
    clock,
    wheel: new Wheel(clock),
    seal: undefined as never,
    log: { info: note, warn: note, error: note },
    advertise: 'dialled',
    authenticate: () => ({ name: 'ann', tenant: '', super: false }),
    adopt: () => undefined,
    lost: () => undefined,
    returned: () => undefined,
    ...more,
  })
  return { host, sessions, commands, logged, clock }
}
const quiet = async () => undefined

describe('the host', () => {
  it('admits who is known, up to the bound', async () => {
    const { host } = setUp()
    const session = await host.admit(credentials(), quiet)
    expect(session).toMatchObject({
      client: 'c',
      protocol: 'p',
      principal: { name: 'ann' },
      remoteAddress: '198.51.100.1:1',
    })
    const second = await host.admit(credentials(), quiet)
    await expect(host.admit(credentials(), quiet)).rejects.toMatchObject({ code: 'limit' })
    host.release(second)
    await host.admit(credentials(), quiet)
    const refusing = setUp({ authenticate: () => Promise.reject(new Fault('unauthenticated', 'no')) })
    await expect(refusing.host.admit(credentials(), quiet)).rejects.toMatchObject({ code: 'unauthenticated' })
    expect(refusing.sessions.size).toBe(0)
  })

  it('a session that is released leaves the backend, once, and the way out waits for it', async () => {
    let done = () => {}
    const { host, commands } = setUp({
      pipeline: ((command: unknown, context: Context) => {
        commands.push({ command, context })
        return new Promise((resolve) => (done = () => resolve({})))
      }) as unknown as Handle,
    })
    const session = await host.admit(credentials(), quiet)
    host.release(session)
    host.release(session)
    expect(commands).toMatchObject([{ command: { kind: 'leave', what: 'all' }, context: { session } }])
    let left = false
    const leaving = host.left().then(() => (left = true))
    await Promise.resolve()
    expect(left).toBe(false)
    done()
    await leaving
  })

  it('a leave that fails is logged and holds nothing up', async () => {
    const { host, logged } = setUp({ pipeline: () => Promise.reject(new Fault('unavailable', 'no')) })
    const session = await host.admit(credentials(), quiet)
    host.release(session)
    await host.left()
    expect(logged).toEqual([['session.leave', { session: session.id, code: 'unavailable' }]])
  })

  it('a heartbeat that was accepted makes notices to the group come here', async () => {
    const { host, sessions } = setUp()
    const told: unknown[] = []
    const session = await host.admit(credentials(), async (notice) => told.push(notice))
    const notice = { kind: 'rebalance', group: 'g' } as const
    const to = { group: 'g', role: 'produces', one: false } as const
    await sessions.notify(to, notice)
    await host.handle<'heartbeat'>(
      { kind: 'heartbeat', member: { produces: ['g'], consumes: [] } },
      host.context(session, 1),
    )
    await sessions.notify(to, notice)
    expect(told).toEqual([notice])
  })

  it('makes one context a request', async () => {
    const { host, clock } = setUp()
    const session = await host.admit(credentials(), quiet)
    expect(host.context(session, 500)).toEqual({ session, principal: session.principal, deadline: clock.now() + 500 })
    const other = { name: 'bob', tenant: 't', super: false }
    expect(host.context(session, 1, { principal: other, traceparent: 'tp' })).toMatchObject({
      principal: other,
      traceparent: 'tp',
    })
  })

  it.each([
    ['dialled', '192.0.2.1', { host: '192.0.2.1', port: 8081 }],
    ['dialled', '2001:db8::7', { host: '2001:db8::7', port: 8081 }],
    ['mq.example.com:31881', '192.0.2.1', { host: 'mq.example.com', port: 31_881 }],
    ['[2001:db8::9]:1', '192.0.2.1', { host: '2001:db8::9', port: 1 }],
  ])('advertises %s to who dialled %s', async (advertise, local, address) => {
    const { host } = setUp({ advertise })
    expect(host.advertised(await host.admit(credentials(local), quiet))).toEqual(address)
  })
})

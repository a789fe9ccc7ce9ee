import { describe, expect, it } from 'vitest'
import type { Membership, Notice } from './model.ts'
import type { Credentials } from './protocol.ts'
import { Sessions } from './session.ts'

const principal = { name: 'anonymous', tenant: '', super: false }
const rebalance: Notice = { kind: 'rebalance', group: 'g' }

const who = (client: string, address = '192.0.2.1'): Credentials => ({
  protocol: 'toy',
  client,
  language: 'JS',
  version: 1,
  peer: { address, port: 4711, secure: false, local: { address: '192.0.2.2', port: 80 } },
})

const consumes = (...groups: string[]): Membership => ({
  produces: [],
  consumes: groups.map((group) => ({ group, mode: 'push', model: 'cluster', from: 'max', topics: [] })),
})

const make = () => {
  const sessions = new Sessions('p')
  const asked: string[] = []
  const join = (client: string, membership?: Membership) => {
    const session = sessions.admit(who(client), principal, async (notice) => {
      asked.push(client)
      return `${client} ${notice.kind}`
    })
    if (membership) sessions.joined(session, membership)
    return session
  }
  const one = (group: string) => sessions.notify({ group, role: 'consumes', one: true }, rebalance)
  return { sessions, asked, join, one }
}

describe('sessions', () => {
  it('have ids of their process, and say where from and where to', () => {
    const { sessions, join } = make()
    expect([join('a').id, join('b').id]).toEqual(['p/1', 'p/2'])
    const six = sessions.admit(who('c', '2001:db8::1'), principal, async () => undefined)
    expect([six.remoteAddress, six.localAddress]).toEqual(['[2001:db8::1]:4711', '192.0.2.2:80'])
    expect(sessions.size).toBe(3)
  })

  it('are released once', () => {
    const { sessions, join } = make()
    const session = join('a')
    expect([sessions.release(session), sessions.release(session), sessions.size]).toEqual([true, false, 0])
  })

  it('are told by name, and answer', async () => {
    const { sessions, join } = make()
    const { id } = join('a')
    expect(await sessions.notify({ session: id }, rebalance)).toBe('a rebalance')
    expect(await sessions.notify({ session: 'p/99' }, rebalance)).toBeUndefined()
  })

  it('of a group are all told, though one fails or throws', async () => {
    const { sessions, asked, join } = make()
    join('a', consumes('g', 'h'))
    join('b', { produces: ['g'], consumes: [] })
    for (const notify of [
      () => Promise.reject(new Error('gone')),
      () => {
        throw new Error('at once')
      },
    ]) {
      sessions.joined(sessions.admit(who('bad'), principal, notify), consumes('g'))
    }
    join('c', consumes('g'))
    expect(await sessions.notify({ group: 'g', role: 'consumes', one: false }, rebalance)).toBe(4)
    expect(asked).toEqual(['a', 'c'])
    expect(await sessions.notify({ group: 'nobody', role: 'consumes', one: false }, rebalance)).toBeUndefined()
  })

  it('of a group are asked in turn, whatever other groups do meanwhile', async () => {
    const { asked, join, one } = make()
    join('a', consumes('g', 'h'))
    join('b', consumes('g', 'h'))
    for (let round = 0; round < 3; round++) {
      await one('g')
      await one('h')
    }
    expect(asked).toEqual(['a', 'a', 'b', 'b', 'a', 'a'])
  })

  it('that are gone are not asked, and the turn goes on', async () => {
    const { sessions, asked, join, one } = make()
    join('a', consumes('g'))
    const b = join('b', consumes('g'))
    const c = join('c', consumes('g'))
    await one('g')
    await one('g')
    sessions.release(b)
    await one('g')
    await one('g')
    expect(asked).toEqual(['a', 'b', 'a', 'c'])
    sessions.release(c)
    sessions.joined(c, consumes('g')) // a heartbeat that comes too late
    await one('g')
    expect(asked.at(-1)).toBe('a')
  })
})

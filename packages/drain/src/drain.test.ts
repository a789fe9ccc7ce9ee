import type { Connection, ProtocolServer } from '@sluice/core'
import { type FakeClock, fakeClock } from '@sluice/testkit'
import { beforeEach, describe, expect, it } from 'vitest'
import { createDrain, type DrainController, type Phase, type Verdict } from './drain.ts'

const plan = { leavingMs: 5_000, announceMs: 10_000, settleMs: 20_000 }

class FakeConnection implements Connection {
  state: Connection['state'] = 'serving'
  readonly since = 0
  busy: number
  toldAt: number | undefined
  endedAt: number | undefined
  forced = false
  readonly id: string
  readonly #server: FakeServer
  readonly #clock: FakeClock
  readonly #leavesWhenTold: boolean

  constructor(id: string, server: FakeServer, clock: FakeClock, { busy = 0, leavesWhenTold = false } = {}) {
    this.id = id
    this.#server = server
    this.#clock = clock
    this.busy = busy
    this.#leavesWhenTold = leavesWhenTold
  }
  goAway() {
    this.state = 'told'
    this.toldAt = this.#clock.now()
    if (this.#leavesWhenTold) this.close()
  }
  end(force: boolean) {
    if (!force && this.busy > 0) return
    this.forced = force
    this.close()
  }
  close() {
    this.endedAt = this.#clock.now()
    this.state = 'closed'
    this.#server.open.delete(this)
  }
}

class FakeServer implements ProtocolServer {
  readonly open = new Set<FakeConnection>()
  closed = false
  accept() {}
  connections() {
    return this.open
  }
  async close() {
    this.closed = true
  }
}

describe('drain', () => {
  let clock: FakeClock
  let drain: DrainController
  let server: FakeServer
  let began: number
  const phases: Phase[] = []
  const logged: unknown[] = []
  const connect = (id: string, how?: { busy?: number; leavesWhenTold?: boolean }) => {
    const connection = new FakeConnection(id, server, clock, how)
    server.open.add(connection)
    return connection
  }
  const through = async (promise: Promise<Verdict>, ms = 40_000): Promise<Verdict> => {
    let verdict: Verdict | undefined
    void promise.then((done) => {
      verdict = done
    })
    for (let passed = 0; passed < ms && !verdict; passed += 50) await clock.pass(50)
    expect(verdict).toBeDefined()
    return verdict!
  }

  beforeEach(() => {
    clock = fakeClock()
    began = clock.now()
    logged.length = 0
    drain = createDrain(clock, { error: (event, fields) => void logged.push([event, fields]) })
    server = new FakeServer()
    drain.add('p', server)
    phases.length = 0
    drain.onPhase((phase) => phases.push(phase))
  })

  it('walks through the phases once, whoever asks', async () => {
    connect('a')
    const first = drain.drain(plan)
    expect(drain.drain(plan)).toBe(first)
    await through(first)
    expect(phases).toEqual(['leaving', 'announcing', 'settling', 'closed'])
    expect(server.closed).toBe(true)
  })

  it('tells nobody while the load balancer looks away', async () => {
    const connection = connect('a')
    const verdict = drain.drain(plan)
    await clock.pass(4_900)
    expect(connection.toldAt).toBeUndefined()
    await through(verdict)
    expect(connection.toldAt! - began).toBeGreaterThanOrEqual(5_000)
  })

  it('spreads what it says over the window', async () => {
    const connections = Array.from({ length: 200 }, (_, n) => connect(`c/${n}`))
    await through(drain.drain(plan))
    const seconds = new Map<number, number>()
    for (const { toldAt } of connections) {
      const second = Math.floor((toldAt! - began - 5_000) / 1_000)
      seconds.set(second, (seconds.get(second) ?? 0) + 1)
    }
    expect([...seconds.keys()].every((second) => second >= 0 && second <= 10)).toBe(true)
    expect(Math.max(...seconds.values())).toBeLessThan(60)
  })

  it('gives a client a second to go by itself, then ends what is idle', async () => {
    const idle = connect('idle')
    const leaver = connect('leaver', { leavesWhenTold: true })
    const verdict = await through(drain.drain(plan))
    expect(idle.endedAt! - idle.toldAt!).toBeGreaterThanOrEqual(1_000)
    expect([idle.forced, leaver.forced]).toEqual([false, false])
    expect(verdict.byProtocol.p).toEqual({ told: 2, obeyed: 2, forced: 0, inflightAtClose: 0, returned: 0 })
    expect(verdict.clean).toBe(true)
  })

  it('lets a busy one finish, and ends it then', async () => {
    const busy = connect('busy', { busy: 3 })
    const verdict = drain.drain(plan)
    await clock.pass(20_000)
    expect(busy.endedAt).toBeUndefined()
    busy.busy = 0
    expect((await through(verdict)).byProtocol.p).toMatchObject({ told: 1, obeyed: 1, forced: 0 })
    expect(clock.now() - began).toBeLessThan(21_000)
  })

  it('forces what is busy at the end, and says how much was lost', async () => {
    connect('busy', { busy: 3 })
    connect('idle')
    drain.returned('p', 9) // before the drain: not its doing
    const verdict = drain.drain(plan)
    drain.returned('p', 2)
    const { byProtocol, clean, took } = await through(verdict)
    expect(byProtocol.p).toEqual({ told: 2, obeyed: 1, forced: 1, inflightAtClose: 3, returned: 2 })
    expect(clean).toBe(false)
    expect(took).toBeGreaterThanOrEqual(35_000)
  })

  it('serves and tells who comes late', async () => {
    const verdict = drain.drain(plan)
    connect('early', { busy: 1 })
    await clock.pass(14_000)
    const late = connect('late')
    await clock.pass(1_500)
    expect(late.toldAt).toBeDefined()
    expect((await through(verdict)).byProtocol.p).toMatchObject({ told: 2, forced: 1 })
  })

  it('is over early when nobody is there', async () => {
    const { took } = await through(drain.drain(plan))
    expect(took).toBeLessThan(5_200)
  })

  it('hurries when asked again', async () => {
    connect('busy', { busy: 1 })
    const verdict = drain.drain(plan)
    await clock.pass(100)
    drain.hurry()
    const { took } = await through(verdict)
    expect(took).toBeLessThanOrEqual(6_300)
  })

  it('is cut short at once when told so', async () => {
    const busy = connect('busy', { busy: 1 })
    const verdict = drain.drain(plan)
    await clock.pass(100)
    drain.hurry(0)
    expect(await through(verdict)).toMatchObject({ clean: false, byProtocol: { p: { forced: 1 } } })
    expect(busy.endedAt! - began).toBeLessThan(400)
  })

  it('tells how far it is', async () => {
    expect(drain.tallies().p).toMatchObject({ told: 0, remaining: 0 })
    for (const id of ['a', 'b']) connect(id, { busy: 1 })
    expect(drain.tallies().p!.remaining).toBe(0)
    const verdict = drain.drain(plan)
    await clock.pass(16_000)
    expect(drain.tallies().p).toMatchObject({ told: 2, forced: 0, remaining: 2 })
    await through(verdict)
    expect(drain.tallies().p).toMatchObject({ told: 2, forced: 2, remaining: 0 })
  })

  it('goes on when a protocol throws at being told, ended or closed, and names it', async () => {
    const [deaf, stubborn] = [connect('deaf'), connect('stubborn')]
    const bad = () => {
      throw new Error('plugin')
    }
    deaf.goAway = bad
    const { end } = stubborn
    stubborn.end = (force) => (force ? end.call(stubborn, true) : bad())
    server.close = () => Promise.reject(new Error('close'))
    expect((await through(drain.drain(plan))).byProtocol.p).toMatchObject({ told: 2, forced: 0 })
    expect([deaf.forced, stubborn.forced]).toEqual([true, true])
    expect(logged).toEqual(Array.from({ length: 3 }, () => ['plugin.failed', expect.objectContaining({ plugin: 'p' })]))
  })

  it('leaves a server behind that does not close', async () => {
    server.close = () => new Promise(() => undefined)
    expect((await through(drain.drain(plan))).took).toBeLessThan(11_000)
    expect(logged).toEqual([['plugin.failed', { plugin: '', error: expect.stringContaining('does not close') }]])
  })
})

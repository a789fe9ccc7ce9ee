import { describe, expect, it } from 'vitest'
import { Fault, type FaultCode } from './model.ts'
import { type Context, compose, type Handle, type Interceptor, waitOf } from './pipeline.ts'

describe('compose', () => {
  it('puts the first stage outermost, and the core innermost', async () => {
    const seen: string[] = []
    const stage =
      (name: string): Interceptor =>
      (next) =>
      async (command, context) => {
        seen.push(`> ${name}`)
        const reply = await next(command, context)
        seen.push(`< ${name}`)
        return reply
      }
    const core = (async () => {
      seen.push('core')
      return {}
    }) as unknown as Handle
    await compose([stage('a'), stage('b')], core)({ kind: 'topic', topic: 't' }, {} as Context)
    expect(seen).toEqual(['> a', '> b', 'core', '< b', '< a'])
  })

  it('of nothing is the core itself', () => {
    const core = (() => Promise.reject(new Error('x'))) as Handle
    expect(compose([], core)).toBe(core)
  })

  it('knows which commands may wait', () => {
    expect(waitOf({ kind: 'pop', wait: 5 })).toBe(5)
    expect(waitOf({ kind: 'settle' })).toBe(0)
  })
})

describe('Fault', () => {
  it('captures a stack only where something is wrong with us', () => {
    expect(new Fault('throttled', 'x').stack).not.toContain('\n    at ')
    expect(new Fault('internal', 'x').stack).toContain('\n    at ')
    expect(new Error('after').stack).toContain('\n    at ')
  })

  it('of anything else is internal, its text kept from clients', () => {
    const cause = new Error('secret')
    const fault = Fault.from(cause)
    expect([fault.code, fault.message, fault.cause]).toEqual(['internal', 'internal error', cause])
    const refusal = new Fault('busy' satisfies FaultCode, 'x', { about: 'topic', node: 'a', retryAfter: 5 })
    expect(Fault.from(refusal)).toBe(refusal)
    expect([refusal.about, refusal.node, refusal.retryAfter]).toEqual(['topic', 'a', 5])
  })

  it('is recognised by its brand, so that a second install of the package works', () => {
    expect(Fault.is(new Fault('busy', 'x'))).toBe(true)
    expect(Fault.is({ [Symbol.for('sluice.Fault')]: true })).toBe(true)
    for (const other of [undefined, null, 'x', new Error('x'), {}]) expect(Fault.is(other)).toBe(false)
  })
})

import { defaultLimits, type GroupInfo } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { refusal } from '../test/refusal.ts'
import { toMembership, toSettings } from './settings.ts'
import { fromMs } from './wire.ts'

describe('settings', () => {
  const group: GroupInfo = { group: 'g', fifo: true, maxAttempts: 5, backoff: [1_000, 2_500] }
  const consumer = {
    client_type: 'PUSH_CONSUMER',
    request_timeout: fromMs(3_000),
    subscription: {
      group: { name: 'g' },
      subscriptions: [{ topic: { name: 'orders' }, expression: { type: 'TAG', expression: 'a||b' } }],
    },
  }

  it('answers a producer with the only strategy that Java, Node and C# take, and a body size', () => {
    const settings = toSettings({ publishing: { topics: [{ name: 'orders' }] } }, undefined, defaultLimits)
    expect(settings.backoff_policy?.exponential_backoff).toBeDefined()
    expect(settings.publishing).toEqual({
      topics: [{ name: 'orders' }],
      max_body_size: defaultLimits.bodyBytes,
      validate_message_type: true,
    })
    expect(settings.subscription).toBeUndefined()
  })

  it('answers a consumer with what its group is, batch and poll time above 0', () => {
    const settings = toSettings(consumer, group, defaultLimits)
    expect(settings.backoff_policy).toEqual({
      max_attempts: 5,
      customized_backoff: {
        next: [
          { seconds: 1, nanos: 0 },
          { seconds: 2, nanos: 500_000_000 },
        ],
      },
    })
    expect(settings.subscription).toMatchObject({
      fifo: true,
      receive_batch_size: 32,
      long_polling_timeout: { seconds: 20 },
    })
    expect(
      toSettings(consumer, { ...group, backoff: { initial: 5_000, max: 7_200_000, times: 2 } }, defaultLimits),
    ).toMatchObject({
      backoff_policy: { exponential_backoff: { initial: { seconds: 5 }, max: { seconds: 7_200 }, multiplier: 2 } },
    })
  })

  it('has a policy for groups that nobody configured, or configured with no step', () => {
    for (const known of [undefined, { ...group, backoff: [] }]) {
      expect(toSettings(consumer, known, defaultLimits).backoff_policy?.customized_backoff?.next.length).toBe(18)
    }
    expect(toSettings({}, undefined, { ...defaultLimits, pollMs: 1 }).subscription?.long_polling_timeout).toEqual(
      fromMs(1_000),
    )
  })

  it('say steps as doubling whole seconds to Node, which knows no steps and would make ordered messages dead at once', () => {
    const node = { ...consumer, user_agent: { language: 'NODE_JS' } }
    const { backoff_policy } = toSettings(node, { ...group, backoff: [500, 2_500, 60_000] }, defaultLimits)
    expect(backoff_policy?.customized_backoff).toBeUndefined()
    expect(backoff_policy).toMatchObject({
      max_attempts: 5,
      exponential_backoff: { initial: { seconds: 1 }, max: { seconds: 60 }, multiplier: 2 },
    })
  })

  it('tell what a client produces or consumes', () => {
    expect(toMembership({ publishing: { topics: [{ name: 'orders' }] } }, 1)).toEqual({
      produces: ['orders'],
      consumes: [],
    })
    expect(toMembership(consumer, 7).consumes).toEqual([
      {
        group: 'g',
        mode: 'push',
        model: 'cluster',
        from: 'min',
        topics: [{ topic: 'orders', filter: { kind: 'tag', expression: 'a||b' }, version: 7 }],
      },
    ])
    expect(refusal(() => toMembership({ subscription: { subscriptions: [] } }, 1))).toBe(40003)
  })
})

import { type Context, Fault } from '@sluice/core'
import { fakeGateway, turns } from '@sluice/testkit'
import { expect, it } from 'vitest'
import { TOPICS_MAX, Topics } from './topics.ts'

const open = () => {
  const gateway = fakeGateway({ autoCreate: true, queues: 2 })
  const context = (tenant = '') => ({ principal: { name: 'a', tenant, super: false } }) as Context
  return { gateway, context, topics: new Topics(gateway) }
}

it('remembers a bounded number of topics, the newest', async () => {
  const { topics, context } = open()
  for (let n = 0; n <= TOPICS_MAX; n++) await topics.ask(`T${n}`, context())
  expect(topics.size).toBe(TOPICS_MAX)
  expect(topics.queue(`T${TOPICS_MAX}`, 1, context())).toEqual({ topic: `T${TOPICS_MAX}`, node: 'memory', index: 1 })
  expect(topics.queue('T0', 1, context())).toBeInstanceOf(Promise)
})

it('asks for a queue that it does not know, and for another tenant', async () => {
  const { topics, context } = open()
  await topics.ask('T', context('one'))
  expect(topics.queue('T', 0, context('one'))).not.toBeInstanceOf(Promise)
  expect(topics.queue('T', 0, context('other'))).toBeInstanceOf(Promise)
  await expect(topics.queue('T', 2, context('one'))).rejects.toMatchObject({ code: 'notFound', about: 'queue' })
})

it('asks again after half a minute, and nobody waits for that or for a question that is asked already', async () => {
  const { gateway, topics, context } = open()
  const asked = () => gateway.of('topic').length
  await Promise.all([1, 1, 0].map((number) => topics.queue('T', number, context())))
  expect(asked()).toBe(1)
  gateway.clock.advance(30_000)
  gateway.failNext('topic', new Fault('unavailable', 'later'))
  for (let n = 0; n < 3; n++) expect(topics.queue('T', 0, context())).not.toBeInstanceOf(Promise)
  expect(asked()).toBe(2)
  await turns()
  gateway.failNext('topic', new Fault('topicNotFound', 'deleted'))
  expect(topics.queue('T', 0, context())).not.toBeInstanceOf(Promise)
  await turns()
  expect(topics.size).toBe(0)
})

it('knows queues by their numbers over several nodes', async () => {
  const { gateway, topics, context } = open()
  const queue = (node: string, index: number) => ({ topic: 'T', node, index })
  const routes = [queue('a', 0), queue('b', 0), queue('a', 1)].map((one, number) => ({
    queue: one,
    number,
    readable: true,
    writable: true,
  }))
  gateway.answer('topic', ({ topic }) => ({ topic, queues: 3, type: 'mixed', routes }))
  const numbered = await topics.ask('T', context())
  expect(routes.map((route) => numbered.number(route.queue))).toEqual([0, 1, 2])
  expect(numbered.number(queue('c', 0))).toBe(undefined)
  expect(numbered.queue(1)).toEqual(queue('b', 0))
})

import { connect, type FakeGateway, fakeGateway, serverOf, type Wire } from '@sluice/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import lines from './lines/src/index.ts'
import unruly from './unruly/src/index.ts'

let gateway: FakeGateway
const plugin = unruly()
const other = lines()
beforeEach(() => {
  gateway = fakeGateway()
})
afterEach(async () => {
  await (await serverOf(plugin, gateway)).close()
  gateway.close()
})

const say = async (word: string): Promise<Wire> => {
  const wire = await connect(plugin, gateway)
  wire.write(Buffer.from(`UNRULY\n${word}\n`))
  return wire
}
const failures = () =>
  gateway.logs.flatMap(({ event, fields }) =>
    event === 'plugin.failed' ? [`${fields.plugin}: ${String(fields.error).split('\n')[0]}`] : [],
  )

describe('a plugin that fails costs one connection', () => {
  let bystander: Wire
  beforeEach(async () => {
    bystander = await say('HELLO')
    await bystander.take(6)
  })

  /** Another connection of the plugin and another protocol go on. */
  const othersGoOn = async () => {
    bystander.write(Buffer.from('HELLO\n'))
    expect((await bystander.take(6)).toString()).toBe('HELLO\n')
    const wire = await connect(other, gateway)
    wire.write(Buffer.from('PUB 1 t x\n'))
    expect((await wire.take(5)).toString()).toBe('OK 1\n')
    wire.destroy()
  }

  it.each([
    ['THROW', 'TypeError: thrown in receive'],
    ['REJECT', 'TypeError: rejected by receive'],
  ])('%s in receive', async (word, error) => {
    const wire = await say(word)
    expect((await wire.rest()).toString()).toBe('internal\n')
    expect(failures()).toEqual([`unruly: ${error}`])
    await othersGoOn()
  })

  it('in goAway', async () => {
    const wire = await say('GOAWAY')
    await wire.take(7)
    for (const connection of (await serverOf(plugin, gateway)).connections()) connection.goAway('draining')
    await wire.closed
    expect(failures()).toEqual(['unruly: TypeError: thrown in goAway'])
    await othersGoOn()
  })

  it('in closed', async () => {
    const wire = await say('CLOSED')
    await wire.take(7)
    wire.socket.end()
    await wire.closed
    await othersGoOn()
    expect(failures()).toEqual(['unruly: TypeError: thrown in closed'])
  })
})

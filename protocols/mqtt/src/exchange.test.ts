import { type Credentials, Fault, type Principal } from '@sluice/core'
import { type FakeGateway, fakeGateway, serverOf, turns } from '@sluice/testkit'
import type { IAuthPacket, IConnackPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectPacket, dial, type TestClient } from '../test/client.ts'
import mqtt from './index.ts'

/** A method of one question, whose last word needs no answer. */
const method = 'PASSWORD-ASKED'
const passwords: Readonly<Record<string, string>> = { ann: 'pencil', 'b,=b': 'secret' }
const verify = async ({ secret, exchange }: Credentials): Promise<string> => {
  const user = String(secret)
  const challenge = Buffer.from(`for ${user}`)
  const answer = await exchange!(challenge)
  if (answer.toString() !== `${challenge} ${passwords[user]}`) throw new Fault('unauthenticated', 'no')
  void exchange!(Buffer.from(`${passwords[user]} it was`))
  return user
}

let gateway: FakeGateway
let protocol = mqtt({ authenticationMethods: [method, 'PING-PONG'] })
let principal: (who: Credentials) => Principal | Promise<Principal>
beforeEach(() => {
  gateway = fakeGateway()
  protocol = mqtt({ authenticationMethods: [method, 'PING-PONG'] })
  principal = async (who) => ({ name: await verify(who), tenant: '', super: false })
  const { admit } = gateway
  Object.assign(gateway, {
    authenticate: (who: Credentials) => principal(who),
    admit: async (who: Credentials, notify: never) => {
      const { name } = await principal(who)
      const session = await admit(who, notify)
      return Object.assign(session, { principal: { name, tenant: '', super: false } })
    },
  })
})
afterEach(async () => {
  await (await serverOf(protocol, gateway)).close()
  gateway.close()
})

/** The client's side: its name, its password over the challenge, and what the server then says of itself. */
const asking = (user: string, password: string) => ({
  first: Buffer.from(user),
  answer: (challenge: Buffer) => Buffer.from(`${challenge} ${password}`),
  trusts: (last: Buffer | undefined) => last?.toString() === `${password} it was`,
})

const begin = async (authenticationData: Buffer | undefined, authenticationMethod = method): Promise<TestClient> => {
  const client = await dial(protocol, gateway, 5)
  client.send(
    connectPacket(5, { properties: { authenticationMethod, ...(authenticationData && { authenticationData }) } }),
  )
  return client
}
const auth = (reasonCode: number, authenticationData: Buffer, authenticationMethod = method): IAuthPacket =>
  ({ cmd: 'auth', reasonCode, properties: { authenticationMethod, authenticationData } }) as IAuthPacket
const dataOf = ({ properties }: IAuthPacket | IConnackPacket) =>
  (properties as { authenticationData?: Buffer } | undefined)?.authenticationData

const login = async (user: string, password: string) => {
  const asked = asking(user, password)
  const client = await begin(asked.first)
  const challenge = await client.next('auth')
  expect(challenge).toMatchObject({ reasonCode: 0x18, properties: { authenticationMethod: method } })
  client.send(auth(0x18, asked.answer(dataOf(challenge)!)))
  return { client, connack: await client.next('connack'), asked }
}

describe('a login by exchange', () => {
  it.each([
    ['ann', 'pencil'],
    ['b,=b', 'secret'],
  ])('lets %s in, and proves the server in its CONNACK', async (user, password) => {
    const { connack, asked } = await login(user, password)
    expect(connack).toMatchObject({ reasonCode: 0, properties: { authenticationMethod: method } })
    expect(asked.trusts(dataOf(connack))).toBe(true)
    expect(gateway.of('open')).toHaveLength(1)
  })

  it('refuses a wrong password and an unknown user alike', async () => {
    for (const [user, password] of [
      ['ann', 'wrong'],
      ['eve', 'pencil'],
    ] as const) {
      const { connack } = await login(user, password)
      expect(connack).toMatchObject({ reasonCode: 0x86 })
      expect(dataOf(connack)).toBeUndefined()
    }
    expect(gateway.of('open')).toHaveLength(0)
  })
})

describe('an exchange', () => {
  const ended = async (client: TestClient, cmd: 'connack' | 'disconnect', reasonCode: number) => {
    expect(await client.next(cmd)).toMatchObject({ reasonCode })
    expect((await client.wire.rest()).toString('hex')).toBe('')
  }

  it('of an unknown method is refused', async () => {
    await ended(await begin(undefined, 'GS2-KRB5'), 'connack', 0x8c)
  })

  it('may take any number of rounds', async () => {
    principal = async ({ exchange }) => {
      for (const ping of ['1', '2', '3']) {
        const pong = await exchange!(Buffer.from(ping))
        if (pong.toString() !== `re ${ping}`) throw new Fault('unauthenticated', 'no')
      }
      return { name: 'ping', tenant: '', super: false }
    }
    const client = await begin(undefined, 'PING-PONG')
    for (let round = 0; round < 3; round++) {
      const data = dataOf(await client.next('auth'))
      client.send(auth(0x18, Buffer.from(`re ${data}`), 'PING-PONG'))
    }
    const connack = await client.next('connack')
    expect(connack).toMatchObject({ reasonCode: 0, properties: { authenticationMethod: 'PING-PONG' } })
    expect(dataOf(connack)).toBeUndefined()
  })

  it('lets nothing pass but AUTH and DISCONNECT [MQTT-3.1.2-30]', async () => {
    const { first } = asking('ann', 'pencil')
    const eager = await begin(first)
    await eager.next('auth')
    eager.send({ cmd: 'pingreq' })
    await ended(eager, 'connack', 0x82)
    const shy = await begin(first)
    await shy.next('auth')
    shy.send({ cmd: 'disconnect' })
    expect((await shy.wire.rest()).toString('hex')).toBe('')
    await turns()
    expect(gateway.sessions.size).toBe(0)
  })

  it('keeps its method and its turns [MQTT-4.12.0-5]', async () => {
    const asked = asking('ann', 'pencil')
    for (const packet of [auth(0x18, asked.first, 'PING-PONG'), auth(0x19, asked.first)]) {
      const client = await begin(asked.first)
      await client.next('auth')
      client.send(packet)
      await ended(client, 'connack', 0x82)
    }
    const twice = await begin(asked.first)
    const answer = auth(0x18, asked.answer(dataOf(await twice.next('auth'))!))
    principal = () => new Promise(() => undefined)
    twice.send(answer, answer)
    const { cmd } = await Promise.race([twice.next('connack')])
    expect(cmd).toBe('connack')
  })

  it('that the client leaves open ends', async () => {
    const client = await begin(asking('ann', 'pencil').first)
    await client.next('auth')
    await gateway.clock.pass(gateway.limits.handshakeMs + 2_000)
    expect((await client.wire.rest()).toString('hex')).toBe('')
    await turns()
    expect(gateway.sessions.size).toBe(0)
  })

  it('without a method in CONNECT is an error, and unknown to 3.1.1 [MQTT-4.12.0-6]', async () => {
    const client = await dial(protocol, gateway, 5)
    principal = () => ({ name: 'x', tenant: '', super: true })
    client.send(connectPacket(5))
    await client.next('connack')
    client.send(auth(0x19, Buffer.from('x')))
    await ended(client, 'disconnect', 0x82)
  })
})

describe('a client that proves itself again', () => {
  const again = async (user: string, password: string) => {
    const { client } = await login('ann', 'pencil')
    const asked = asking(user, password)
    client.send(auth(0x19, asked.first))
    const challenge = await client.next('auth')
    client.send({ cmd: 'pingreq' }, auth(0x18, asked.answer(dataOf(challenge)!)))
    await client.next('pingresp')
    return { client, asked }
  }

  it('is told so, and everything else goes on', async () => {
    const { client, asked } = await again('ann', 'pencil')
    const done = await client.next('auth')
    expect(done.reasonCode).toBe(0)
    expect(asked.trusts(dataOf(done))).toBe(true)
    client.send(auth(0x19, asked.first))
    expect((await client.next('auth')).reasonCode).toBe(0x18)
  })

  it('ends when it cannot, or is somebody else by now', async () => {
    for (const [user, password] of [
      ['ann', 'wrong'],
      ['b,=b', 'secret'],
    ] as const) {
      const { client } = await again(user, password)
      expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
      expect((await client.wire.rest()).toString('hex')).toBe('')
    }
  })

  it('asks for its own method, in its turn, and in time', async () => {
    const { client } = await login('ann', 'pencil')
    client.send(auth(0x18, Buffer.from('x')))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
    const other = (await login('ann', 'pencil')).client
    other.send(auth(0x19, Buffer.from('x'), 'PING-PONG'))
    expect(await other.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
    const { client: slow, asked } = await login('ann', 'pencil')
    slow.send(auth(0x19, asked.first))
    await slow.next('auth')
    await gateway.clock.pass(gateway.limits.handshakeMs + 2_000)
    expect(await slow.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
  })
})

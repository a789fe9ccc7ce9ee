import net from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { asking, House, message } from '../test/harness.ts'
import { type Frame, RawClient } from '../test/raw.ts'

const LAST = 2 ** 31 - 1
let house: House
let socket: net.Socket
let raw: RawClient

beforeEach(async () => {
  house = await House.open({ topics: ['orders'] })
  socket = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
  raw = new RawClient(socket)
  await raw.call('Heartbeat', { client_type: 'PRODUCER' })
})
afterEach(async () => {
  socket.destroy()
  await house.close()
})

const connection = () => [...house.server.connections()].at(-1)!
const until = async (so: () => boolean): Promise<void> => {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 2))
}
const closed = () => new Promise((resolve) => socket.once('close', resolve))
const send = (body: string) => ({ messages: [message('orders', body)] })

describe('a drain', () => {
  it('first asks for no new streams, and serves those that race with it', async () => {
    connection().goAway('draining')
    expect(connection().state).toBe('told')
    await until(() => raw.goaways.length === 1)
    expect(raw.goaways).toEqual([{ last: LAST, code: 0 }])
    expect((await raw.call('SendMessage', send('raced'))).status.code).toBe(20000)
    await until(() => raw.goaways.length === 2)
    expect(raw.goaways[1]).toEqual({ last: 3, code: 0 })
  })

  it('waits for its PING to come back before it names the last stream', async () => {
    raw.answersPings = false
    connection().goAway('draining')
    await until(() => raw.frames.some(({ type }) => type === 'PING'))
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(raw.goaways.length).toBe(1)
    expect((await raw.call('SendMessage', send('raced'))).status.code).toBe(20000)
  })

  it('answers polls at once, after the notice', async () => {
    const { id, answer } = raw.ask('ReceiveMessage', asking('orders', 'g', { long_polling_timeout: { seconds: 20 } }))
    await until(() => house.gateway.parked === 1)
    expect(connection().busy).toBe(0)
    connection().goAway('draining')
    expect((await answer).map(({ status }) => status?.code)).toEqual([40401, undefined])
    const order = raw.frames.filter(({ type, stream }) => type === 'GOAWAY' || (type === 'DATA' && stream === id))
    expect(order[0]?.type).toBe('GOAWAY')
    const again = await raw.ask('ReceiveMessage', asking('orders', 'g')).answer
    expect(again[0].status.code).toBe(40401)
  })

  it('ends telemetry last and closes, with no call cut off', async () => {
    const telemetry = raw.ask('Telemetry', { settings: { client_type: 'PRODUCER', publishing: {} } }, true)
    await until(() => raw.replies(telemetry.id).length === 1)
    const hold = house.gateway.hold('publish')
    const sending = raw.ask('SendMessage', send('slow'))
    await until(() => hold.waiting === 1)
    const ended: string[] = []
    void telemetry.answer.then(() => ended.push('telemetry'))
    void sending.answer.then(() => ended.push('send'))
    connection().goAway('draining')
    connection().end(false)
    await until(() => raw.goaways.length === 2)
    expect(ended).toEqual([])
    hold.release()
    await closed()
    expect(ended).toEqual(['send', 'telemetry'])
    expect((await sending.answer)[0].status.code).toBe(20000)
  })

  it('ends an idle connection that was never told with the true last stream', async () => {
    connection().end(false)
    await closed()
    expect(raw.goaways).toEqual([{ last: 1, code: 0 }])
  })

  it('cuts calls off only when it is forced', async () => {
    house.gateway.hold('publish')
    const sending = raw.ask('SendMessage', send('never'))
    await until(() => connection().busy > 0)
    connection().goAway('draining')
    connection().end(false)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(socket.destroyed).toBe(false)
    connection().end(true)
    await closed()
    await expect(sending.answer).rejects.toThrow()
    await until(() => [...house.server.connections()].length === 0)
  })

  it('loses nothing of a client of grpc-js under load, over several connections in turn', async () => {
    const caller = house.caller('busy')
    let sent = 0
    let over = false
    const worker = async () => {
      while (!over) {
        const reply = await caller.send('orders', 'x')
        expect(reply.status.code).toBe(20000)
        sent++
      }
    }
    const working = Promise.all([worker(), worker(), worker()])
    for (let turn = 0; turn < 4; turn++) {
      const before = sent
      await until(() => sent > before + 20)
      for (const one of house.server.connections()) one.goAway('draining')
    }
    over = true
    await working
    expect(house.gateway.messages('orders').length).toBe(sent)
  })
})

describe('the frames of a drain', () => {
  it('are in order for a connection that was told before its session began', async () => {
    const late = net.connect({ host: '127.0.0.1', port: house.port, noDelay: true })
    const seen: Frame[] = []
    const other = new RawClient(late, 'late')
    other.onFrame = (frame) => seen.push(frame)
    await until(() => [...house.server.connections()].length === 2)
    connection().goAway('draining')
    await until(() => other.goaways.length > 0)
    expect(seen[0]?.type).toBe('SETTINGS')
    late.destroy()
  })
})

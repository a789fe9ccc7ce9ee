import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type RunningGateway, startGateway } from '@sluice/gateway'
import type { Sent } from './agent.ts'
import {
  allSent,
  type Behaviour,
  base64,
  fresh,
  must,
  numbered,
  pause,
  REBALANCED_MS,
  textOf,
  until,
} from './common.ts'
import { Front } from './front.ts'

const ROUNDS = 2
/** A client in Go may wait three seconds before it tries again, twice. The drain suite has tight bounds. */
const SLOWEST_MS = 8_000

/** Sends go on while the gateway is drained and replaced, twice. */
const drained: Behaviour['run'] = async ({ agent, told, full }) => {
  const data = mkdtempSync(path.join(tmpdir(), 'sluice-drain-'))
  const front = await Front.open()
  const start = () => startGateway({ data, listeners: [{ port: 0 }], advertise: `127.0.0.1:${front.port}` })
  let gateway: RunningGateway = await start()
  try {
    front.lead(gateway.port)
    const [topic, group] = [fresh('drained'), fresh('CG')]
    const fields = { nameserver: `127.0.0.1:${front.port}`, group: fresh('PG'), topic }
    allSent(await agent.produce({ ...fields, messages: numbered(4, 'warm') }))
    const consumer = await agent.consume({ ...fields, group, from: 'first' })
    must(await consumer.has(4, REBALANCED_MS), () => `heard ${consumer.heard.length} of 4`)
    let going = true
    let count = 0
    const sent: Sent[] = []
    const sending = (async () => {
      while (going) {
        const messages = Array.from({ length: 10 }, () => ({ body: base64(`m${count++}`) }))
        sent.push(...(await agent.produce({ ...fields, messages })))
      }
    })()
    for (let round = 0; round < ROUNDS; round++) {
      await pause(700)
      front.lead()
      const began = Date.now()
      const verdict = await gateway.drain({ leavingMs: 0, announceMs: 500, settleMs: 5_000 })
      const { remoting } = verdict.byProtocol
      must(remoting?.forced === 0, () => `forced ${remoting?.forced} of ${remoting?.told}`)
      if (told) must((remoting?.obeyed ?? 0) > 0, () => `nobody obeyed: ${JSON.stringify(remoting)}`)
      await gateway.close()
      gateway = await start()
      front.lead(gateway.port)
      console.log(`     drained and replaced in ${Date.now() - began} ms`)
    }
    await pause(700)
    going = false
    await sending
    allSent(sent)
    const heard = () => new Set(consumer.heard.map(textOf))
    await until(() => heard().size >= count + 4, REBALANCED_MS)
    const missing = Array.from({ length: count }, (_, n) => `m${n}`).filter((one) => !heard().has(one))
    must(missing.length === 0, () => `${missing.length} of ${count} are lost: ${missing.slice(0, 10)}`)
    await consumer.stop()
    const slowest = Math.max(...sent.map(({ took = 0 }) => took))
    must(!full || slowest < SLOWEST_MS, () => `a send took ${slowest} ms`)
    console.log(
      `     ${count} sent without an error, ${consumer.heard.length - heard().size} came twice, the slowest took ${slowest} ms`,
    )
  } finally {
    front.close()
    await gateway.close()
    rmSync(data, { recursive: true, force: true })
  }
}

export const draining: readonly Behaviour[] = [
  { feature: 'drain', name: 'sends go on while the gateway is drained and replaced', run: drained },
]

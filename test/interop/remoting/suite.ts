import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startGateway } from '@sluice/gateway'
import { Checks, type Suite } from '../../run/suites.ts'
import { administering } from './administering.ts'
import type { Agent } from './agent.ts'
import type { Behaviour, Bench } from './common.ts'
import { consuming } from './consuming.ts'
import { draining } from './draining.ts'
import { models } from './models.ts'
import { type Player, players } from './players.ts'
import { poppingTogether } from './popping.ts'

/** The table: each of these by each client. */
const behaviours: readonly Behaviour[] = [...consuming, ...models, ...poppingTogether, ...administering, ...draining]

/** Names of behaviours or clients to run alone, between commas. */
const only = process.env.SLUICE_ONLY?.split(',')

const play = async (
  player: Player,
  all: Checks,
  bench: Omit<Bench, 'agent' | 'another' | 'mate' | 'told'>,
): Promise<void> => {
  const wanted = behaviours.filter(({ feature }) => !only?.length || only.includes(feature))
  let agent: Agent | undefined
  await all.check(`${player.name} starts`, async () => {
    agent = await player.start()
  })
  if (!agent) return
  try {
    const mates: Agent[] = []
    const mate = async (): Promise<Agent> => {
      if (!player.oneClientAProcess) return agent!
      mates.push(await player.start())
      return mates.at(-1)!
    }
    for (const { feature, name, long, run } of wanted) {
      const cell = `${player.name}: ${name}`
      const lacks = player.lacks[feature]
      if (lacks !== undefined) all.skip(cell, lacks)
      else if (long && !bench.full) all.skip(cell, 'in the full profile only')
      else
        await all.check(cell, () =>
          run({
            ...bench,
            told: player.told === true,
            agent: agent!,
            mate,
            another: (options) => player.start(options),
          }),
        )
      for (const one of mates.splice(0)) await one.close()
    }
  } finally {
    await agent.close()
  }
}

/** Unmodified RocketMQ clients against a whole gateway, one after the other. */
const suite: Suite = async ({ profile }) => {
  const all = new Checks()
  const data = mkdtempSync(path.join(tmpdir(), 'sluice-interop-'))
  const gateway = await startGateway({ data, listeners: [{ port: 0 }] })
  try {
    const logDir = path.join(data, 'log')
    const bench = { logDir, port: gateway.port, nameserver: `127.0.0.1:${gateway.port}`, full: profile === 'full' }
    const playing = players.filter(({ name }) => !process.env.SLUICE_CLIENT || name.includes(process.env.SLUICE_CLIENT))
    for (const player of playing) await play(player, all, bench)
  } finally {
    await gateway.close()
    rmSync(data, { recursive: true, force: true })
  }
  return all.counts
}

export default suite

/**
 * Killed and started again under the official clients. Each agent sends without pause and consumes what it sent, and says on
 * stdout, a line of JSON each: {started} · {acked: body} · {got: body} · {busy: sends without an answer}, often ·
 * {stopped}: after a line on stdin it sends no more, and goes on consuming.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { type SluiceProcess, startSluice } from '../../run/process.ts'
import type { Checks, Profile } from '../../run/suites.ts'
import { type ClientAgent, home, out } from './clients.ts'

type Restarted = Pick<ClientAgent, 'name' | 'restart'>

const KILLS_MAX = 4
const IN_FLIGHT = 200
const AT_ONCE = 128
const AGAIN_MS = 10_000
/** For whatever else is waited for, and for that too where times are not asserted: beside others on two cores. */
const PATIENCE_MS = 90_000
/** Of a message whose consumer did not say that it had it; it comes again then. */
const INVISIBLE_MS = 10_000

/** What an agent said so far. */
class Played {
  readonly acked = new Set<string>()
  readonly got = new Set<string>()
  busy = 0
  started = false
  stopped = false
  lastAcked = 0
  lastGot = 0

  take(line: string): void {
    const said = JSON.parse(line) as { acked?: string; got?: string; busy?: number; started?: true; stopped?: true }
    if (said.acked !== undefined) {
      this.acked.add(said.acked)
      this.lastAcked = Date.now()
    }
    if (said.got !== undefined) {
      this.got.add(said.got)
      this.lastGot = Date.now()
    }
    if (said.busy !== undefined) this.busy = said.busy
    this.started ||= said.started === true
    this.stopped ||= said.stopped === true
  }

  get unseen(): number {
    let count = 0
    for (const body of this.acked) if (!this.got.has(body)) count++
    return count
  }
}

export const restarts = async (checks: Checks, agents: readonly Restarted[], profile: Profile): Promise<void> => {
  for (const agent of agents) {
    await checks.check(`${agent.name}: sends and receives again after each kill -9, nothing acknowledged is lost`, () =>
      restart(agent, profile === 'full' ? AGAIN_MS : PATIENCE_MS),
    )
  }
}

const restart = async ({ name, restart: [program, ...before] }: Restarted, againMs: number): Promise<void> => {
  const data = mkdtempSync(path.join(out, 'restart-'))
  let sluice = await startSluice({ data })
  const { port } = sluice
  const again = async (): Promise<void> => {
    sluice.kill('SIGKILL')
    await sluice.exited
    sluice = await startAgain(data, port)
  }
  const child = spawn(program as string, [...before, `127.0.0.1:${port}`, 'restarts', String(AT_ONCE)], {
    env: { ...process.env, HOME: home, NODE_OPTIONS: '' },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const played = new Played()
  let text = ''
  child.stdout.on('data', (chunk) => {
    const lines = (text + chunk).split('\n')
    text = lines.pop() as string
    for (const line of lines) if (line.startsWith('{"')) played.take(line)
  })
  try {
    await until('it started', PATIENCE_MS, () => played.started && played.got.size > 50)
    let inFlight = 0
    let kills = 0
    let slowest = 0
    while (kills < 2 || (inFlight < IN_FLIGHT && kills < KILLS_MAX)) {
      await until('sends are in flight', PATIENCE_MS, () => played.busy >= AT_ONCE / 3)
      inFlight += played.busy
      kills++
      await again()
      const ready = Date.now()
      await until('it sends and receives again', againMs, () => played.lastAcked > ready && played.lastGot > ready)
      slowest = Math.max(slowest, Date.now() - ready)
    }
    child.stdin.write('stop\n')
    await until('what was acknowledged is consumed', INVISIBLE_MS + PATIENCE_MS, () => played.unseen === 0)
    assert.ok(inFlight >= IN_FLIGHT, `${inFlight} sends were in flight`)
    console.log(
      `     ${name}: ${kills} kills, ${inFlight} sends in flight, again after ${slowest} ms at most, ` +
        `${played.acked.size} acknowledged, all consumed`,
    )
  } catch (error) {
    throw new Error(`${(error as Error).message}; ${played.acked.size} acknowledged, ${played.unseen} of them not seen`)
  } finally {
    child.kill('SIGKILL')
    sluice.kill('SIGKILL')
    await sluice.exited
    rmSync(data, { recursive: true, force: true })
  }
}

/** The port may be held for a moment by somebody who asked for any. */
const startAgain = async (data: string, port: number): Promise<SluiceProcess> => {
  for (let tries = 0; ; tries++) {
    try {
      return await startSluice({ data, set: [`listeners=[{port: ${port}}]`] })
    } catch (error) {
      if (tries === 3) throw error
    }
  }
}

const until = async (what: string, ms: number, so: () => boolean): Promise<void> => {
  const began = Date.now()
  while (!so()) {
    if (Date.now() - began > ms) throw new Error(`not in ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

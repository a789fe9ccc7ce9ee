import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { startGateway } from '@sluice/gateway'
import grpc from '../../../protocols/grpc/src/index.ts'
import { asking, Caller } from '../../../protocols/grpc/test/harness.ts'
import type { Checks } from '../../run/suites.ts'
import { type Behaviour, type BehaviourName, behaviourNames, behaviours } from './behaviours.ts'
import { type ClientAgent, home, out } from './clients.ts'
import { Operator } from './operator.ts'

const docs = path.join(import.meta.dirname, '../../../docs/grpc.md')
const PATIENCE_MS = 300_000
/** Tries of an agent to start its client. */
export const STARTS = 3

interface Line {
  readonly step: BehaviourName
  readonly result?: readonly string[]
  readonly missing?: string
  readonly error?: string
}
/** Of a client, by behaviour: `pass`, `n/a: why`, or what went wrong. */
type Column = ReadonlyMap<BehaviourName, string>

/** Every client's part, side by side, on a whole gateway; then the table of docs/grpc.md against what was seen. */
export const table = async (checks: Checks, clients: readonly ClientAgent[]): Promise<void> => {
  mkdirSync(home, { recursive: true })
  const data = mkdtempSync(path.join(out, 'data-'))
  const operator = new Operator()
  const gateway = await startGateway({ data, listeners: [{ port: 0 }], protocols: [grpc(), operator.protocol] })
  const caller = new Caller(gateway.port, 'looks for the dead', {})
  try {
    const columns = await Promise.all(
      clients.map(async (client, at): Promise<readonly [string, Column]> => {
        const prefix = `client-${at}`
        await configure(operator, prefix)
        const lines = await play(client, gateway.port, prefix)
        return [client.name, await judge(client, lines, (name) => deadOf(caller, `${prefix}-${name}`))]
      }),
    )
    for (const [name, column] of columns) await say(checks, name, column)
    await checks.check('the table of docs/grpc.md is what was seen', () => compare(columns))
  } finally {
    caller.close()
    await gateway.close()
    rmSync(data, { recursive: true, force: true })
  }
}

const configure = async (operator: Operator, prefix: string): Promise<void> => {
  for (const name of behaviourNames) {
    const { group = {} }: Behaviour = behaviours[name]
    const { fifo = false, maxAttempts = 16 } = group
    await operator.putGroup({ group: `${prefix}-${name}-g`, fifo, maxAttempts, backoff: [1_000] })
  }
}

/** Messages that are dead once the group asks for more, which its client may not do any more. */
const deadOf = async (caller: Caller, topic: string): Promise<number> => {
  const group = `${topic}-g`
  const asked = async (of: string, by: string): Promise<number> => {
    const parts = await caller.receive(asking(of, by, { long_polling_timeout: { seconds: 3 } }))
    return parts.filter(({ message }) => message).length
  }
  const alive = await asked(topic, group)
  return (await asked(`%DLQ%${group}`, 'looks')) - alive
}

type Lines = ReadonlyMap<BehaviourName, Line>

/** What an agent said. One whose client gives up before it has started, which takes it three seconds, is started again. */
const play = async (client: ClientAgent, port: number, prefix: string): Promise<Lines> => {
  for (let tries = 1; ; tries++) {
    const { lines, errors } = await playOnce(client, port, prefix)
    if (lines.size > 0 || tries === STARTS) return lines
    console.log(`     ${client.name} did not start: ${errors.trim().split('\n').slice(0, 3).join(' | ')}`)
  }
}

/** An agent that ends early or too late has said less. */
const playOnce = (
  client: ClientAgent,
  port: number,
  prefix: string,
): Promise<{ readonly lines: Lines; readonly errors: string }> => {
  const [program, ...before] = client.behaviours
  const child = spawn(program as string, [...before, `127.0.0.1:${port}`, prefix, behaviourNames.join(',')], {
    env: { ...process.env, HOME: home, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  let errors = ''
  child.stdout.on('data', (chunk) => (text += chunk))
  child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(0, 2_000)))
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ lines: new Map(), errors: error.message }))
    child.once('close', () => {
      clearTimeout(timer)
      const lines = text.split('\n').filter((line) => line.startsWith('{"') && line.includes('"step"'))
      const said = lines.map((line) => JSON.parse(line) as Line)
      resolve({ lines: new Map(said.map((line) => [line.step, line])), errors })
    })
  })
}

const judge = async (
  { own = {} }: ClientAgent,
  lines: ReadonlyMap<BehaviourName, Line>,
  dead: (name: BehaviourName) => Promise<number>,
): Promise<Column> => {
  const column = new Map<BehaviourName, string>()
  for (const name of behaviourNames) {
    const expected: Behaviour = behaviours[name]
    const line = lines.get(name)
    const [seen, wanted] = [JSON.stringify(line?.result), JSON.stringify(expected.result)]
    const otherwise = own[name]
    if (!line) column.set(name, 'said nothing')
    else if (line.missing !== undefined) column.set(name, `n/a: ${line.missing}`)
    else if (otherwise && seen === JSON.stringify(otherwise.result)) column.set(name, `n/a: ${otherwise.why}`)
    else if (seen !== wanted) column.set(name, line.error ?? `${seen} instead of ${wanted}`)
    else if (expected.dead !== undefined && (await dead(name)) !== expected.dead) column.set(name, 'not in the DLQ')
    else column.set(name, 'pass')
  }
  return column
}

const say = async (checks: Checks, client: string, column: Column): Promise<void> => {
  for (const [name, cell] of column) {
    const title = `${client}: ${behaviours[name].title}`
    if (cell.startsWith('n/a: ')) checks.skip(title, cell.slice('n/a: '.length))
    else await checks.check(title, () => assert.equal(cell, 'pass'))
  }
}

const rowsOf = (columns: readonly (readonly [string, Column])[]): readonly string[] => [
  `| behaviour | ${columns.map(([name]) => name).join(' | ')} |`,
  `|---|${columns.map(() => '---|').join('')}`,
  ...behaviourNames.map((name) => {
    const cells = columns.map(([, column]) => column.get(name))
    return `| ${behaviours[name].title} | ${cells.join(' | ')} |`
  }),
]

/** The committed table, without the columns of clients that could not be played here. What was seen is left in out/. */
const compare = (columns: readonly (readonly [string, Column])[]): void => {
  const seen = rowsOf(columns)
  writeFileSync(path.join(out, 'table.md'), `${seen.join('\n')}\n`)
  const lines = readFileSync(docs, 'utf8').split('\n')
  const begin = lines.findIndex((line) => line.startsWith('| behaviour |'))
  const committed = lines.slice(begin, begin + seen.length).map((line) => line.split('|').map((cell) => cell.trim()))
  const names = committed[0] ?? []
  const shown = names.flatMap((name, at) => (at === 1 || columns.some(([known]) => known === name) ? [at] : []))
  const text = committed.map((cells) => `| ${shown.map((at) => cells[at]).join(' | ')} |`)
  assert.deepEqual(
    text.filter((_, at) => at !== 1),
    seen.filter((_, at) => at !== 1),
  )
}

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import type { Ms } from '@sluice/core'

/**
 * One hostile client, as data: `protocols/<p>/fixtures/hostile.json` is a list of at least ten.
 *   port        plain (default) · tls: TLS is required there · proxy: a PROXY header is required there
 *   client      what the client speaks: tcp (default) · tls
 *   send        each item is a write of its own: hex (blanks allowed) · {"text"} · {"hex", "times"}; or a wait between
 *               two: {"pause": ms up to 200} · {"until": regular expression found in the answer so far, as hex}
 *   answer      regular expression that the whole answer must match, as lower-case hex without blanks
 *   answerText  the same over latin1 text; with neither, nothing may be answered
 *   ends        closed: the server ends the connection within 2 s and one tick · open: the connection stays
 *   event       a log line that must appear
 * What a client calls itself begins with `hostile`, so that rows can be played many at once: see {@link hostileAs}.
 * The gateway has limits.handshakeMs 1000, frameMs 1500, frameBytes 4 MiB + 128 KiB, bodyBytes 4 MiB; topics are not
 * created, `known` exists; all protocols share the port.
 */
export interface HostileRow {
  readonly name: string
  readonly port?: 'plain' | 'tls' | 'proxy'
  readonly client?: 'tcp' | 'tls'
  readonly send: readonly HostileItem[]
  readonly answer?: string
  readonly answerText?: string
  readonly ends: 'closed' | 'open'
  readonly event?: { readonly event: string; readonly code?: string }
}

export type HostileItem = string | { readonly text: string } | { readonly hex: string; readonly times: number } | Wait

type Wait = { readonly pause: Ms } | { readonly until: string }

/** The limits that rows are written for. */
export const hostileLimits = { handshakeMs: 1_000, frameMs: 1_500 } as const

/** Where the rows go. */
export interface HostileTarget {
  readonly host: string
  readonly ports: Readonly<Record<'plain' | 'tls' | 'proxy', number>>
}

/** Deadlines are looked at once a second: what must end may take one more, and longer on a machine with much to do. */
const CLOSE_MS: Ms = 5_000
const STAYS_MS: Ms = 400
const ROWS_MIN = 10

/** @throws when the file is not what {@link HostileRow} says, with the row's name */
export const hostileRows = (file: string | URL): readonly HostileRow[] => {
  const rows: unknown = JSON.parse(readFileSync(file, 'utf8'))
  assert.ok(Array.isArray(rows) && rows.length >= ROWS_MIN, `${file}: not a list of at least ${ROWS_MIN} rows`)
  const names = new Set<string>()
  for (const row of rows as HostileRow[]) {
    const where = `${file}: row ${JSON.stringify(row.name)}`
    assert.ok(typeof row.name === 'string' && !names.has(row.name), `${where} has no name of its own`)
    names.add(row.name)
    const unknown = Object.keys(row).filter((key) => !keys.has(key))
    assert.deepEqual(unknown, [], `${where} has unknown keys`)
    assert.ok(row.ends === 'closed' || row.ends === 'open', `${where}: ends is closed or open`)
    assert.ok(row.port === undefined || ['plain', 'tls', 'proxy'].includes(row.port), `${where}: no such port`)
    assert.ok(row.client === undefined || ['tcp', 'tls'].includes(row.client), `${where}: no such client`)
    assert.ok(Array.isArray(row.send), `${where} sends nothing`)
    for (const item of row.send) assert.ok(isItem(item), `${where}: not an item: ${JSON.stringify(item)}`)
    for (const pattern of [row.answer, row.answerText]) if (pattern !== undefined) new RegExp(pattern)
  }
  return rows as HostileRow[]
}

const keys: ReadonlySet<string> = new Set(['name', 'port', 'client', 'send', 'answer', 'answerText', 'ends', 'event'])

const isHex = (text: unknown): text is string => typeof text === 'string' && /^(\s*[\da-fA-F]{2})*\s*$/.test(text)
const isItem = (item: HostileItem): boolean =>
  typeof item === 'string'
    ? isHex(item)
    : 'text' in item
      ? typeof item.text === 'string'
      : 'pause' in item
        ? item.pause > 0 && item.pause <= 200
        : 'until' in item
          ? typeof item.until === 'string' && item.until !== ''
          : isHex(item.hex) && item.times > 0

const bytesOf = (item: Exclude<HostileItem, Wait>): Buffer => {
  if (typeof item === 'string') return Buffer.from(item.replace(/\s/g, ''), 'hex')
  if ('text' in item) return Buffer.from(item.text, 'utf8')
  const once = Buffer.from(item.hex.replace(/\s/g, ''), 'hex')
  return Buffer.alloc(once.length * item.times, once)
}

const NAME = Buffer.from('hostile').toString('hex')

/** The row as the `number`th client of many plays it, under a name of its own: a second client of one name would take over the first. */
export const hostileAs = (row: HostileRow, number: number): HostileRow => {
  const name = Buffer.from(`h${number.toString(36).padStart(6, '0')}`).toString('hex')
  // A name may be spread over several writes.
  const hex = row.send.map((item) => (typeof item === 'string' ? item.replace(/\s/g, '') : ''))
  const renamed = hex.join('').replaceAll(NAME, name)
  let at = 0
  const send = row.send.map((item, index) =>
    typeof item === 'string' ? renamed.slice(at, (at += hex[index]!.length)) : item,
  )
  return { ...row, send }
}

/** Plays one row; `closeMs`: how long the server may take to end it. @throws when the answer or the end is another */
export const playHostile = async (row: HostileRow, target: HostileTarget, closeMs: Ms = CLOSE_MS): Promise<void> => {
  const raw = net.connect({ host: target.host, port: target.ports[row.port ?? 'plain'], noDelay: true })
  const socket = row.client === 'tls' ? tls.connect({ socket: raw, rejectUnauthorized: false }) : raw
  const answer: Buffer[] = []
  let ended = false
  const over = new Promise<void>((resolve) => {
    const end = () => {
      ended = true
      resolve()
    }
    socket.on('error', end).on('end', end).on('close', end)
    raw.on('error', end)
  })
  socket.on('data', (chunk: Buffer) => answer.push(chunk))
  try {
    await Promise.race([ready(socket, row), over])
    for (const item of row.send) {
      if (ended) break
      await Promise.race([step(socket, item, answer, closeMs), over])
    }
    const asks = row.answer !== undefined || row.answerText !== undefined
    const enough =
      row.ends === 'closed' ? over : asks ? seen(socket, answer, (bytes) => matches(row, bytes)) : undefined
    await Promise.race([enough, over, elapsed(closeMs)])
    if (row.ends === 'open') await Promise.race([elapsed(STAYS_MS), over])
  } finally {
    socket.destroy()
    raw.destroy()
  }
  const bytes = Buffer.concat(answer)
  assert.ok(matches(row, bytes), `answered ${describe(bytes)} instead of ${row.answer ?? row.answerText ?? 'nothing'}`)
  assert.equal(ended ? 'closed' : 'open', row.ends, `ended: answered ${describe(bytes)}`)
}

const describe = (bytes: Buffer): string =>
  bytes.length === 0
    ? 'nothing'
    : `${bytes.toString('hex', 0, 120)} (${JSON.stringify(bytes.toString('latin1', 0, 120))})`

const matches = ({ answer, answerText }: HostileRow, bytes: Buffer): boolean => {
  if (answer !== undefined) return new RegExp(`^(?:${answer})$`, 's').test(bytes.toString('hex'))
  if (answerText !== undefined) return new RegExp(`^(?:${answerText})$`, 's').test(bytes.toString('latin1'))
  return bytes.length === 0
}

const ready = (socket: net.Socket, row: HostileRow): Promise<unknown> =>
  new Promise((resolve) => socket.once(row.client === 'tls' ? 'secureConnect' : 'connect', resolve))
const written = (socket: net.Socket, bytes: Buffer): Promise<unknown> =>
  new Promise((resolve) => socket.write(bytes, resolve))

/** Not one per message: a test client may have timers. */
const elapsed = (ms: Ms): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const step = (socket: net.Socket, item: HostileItem, answer: readonly Buffer[], patience: Ms): Promise<unknown> => {
  if (typeof item === 'object' && 'pause' in item) return elapsed(item.pause)
  if (typeof item === 'string' || !('until' in item)) return written(socket, bytesOf(item))
  const wanted = new RegExp(item.until)
  return Promise.race([seen(socket, answer, (bytes) => wanted.test(bytes.toString('hex'))), elapsed(patience)])
}

/** Resolves once `so` holds for everything that was answered. */
const seen = async (socket: net.Socket, answer: readonly Buffer[], so: (bytes: Buffer) => boolean): Promise<void> => {
  await new Promise<void>((resolve) => {
    const look = () => {
      if (!so(Buffer.concat(answer))) return
      socket.off('data', look)
      resolve()
    }
    socket.on('data', look)
    look()
  })
}

/** Log lines that these rows ask for and that are not there, by event and code. */
export const missingEvents = (
  rows: readonly HostileRow[],
  logged: readonly { readonly event: string; readonly code?: unknown }[],
): readonly string[] => {
  const wanted = new Map<string, { event: string; code: string | undefined; times: number }>()
  for (const { event } of rows) {
    if (!event) continue
    const key = `${event.event} ${event.code ?? ''}`.trim()
    const one = wanted.get(key) ?? { event: event.event, code: event.code, times: 0 }
    one.times++
    wanted.set(key, one)
  }
  return [...wanted].flatMap(([key, { event, code, times }]) => {
    const seen = logged.filter((line) => line.event === event && (code === undefined || line.code === code)).length
    return seen >= times ? [] : [`${key}: ${seen} instead of ${times}`]
  })
}

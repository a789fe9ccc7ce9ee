import type { Log } from '@sluice/core'
import { pino } from 'pino'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** auto: pretty on a terminal, JSON lines elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty'
  /** File descriptor. */
  readonly to: 1 | 2
}

/** JSON lines: one event name a line, ISO time, level as a word; written before the call returns. */
export const createLog = ({ level, format, to }: LogOptions): Log => {
  const terminal = to === 1 ? process.stdout.isTTY : process.stderr.isTTY
  const pretty = format === 'pretty' || (format === 'auto' && terminal)
  const destination = pretty
    ? { write: (line: string) => void prettyTo(to, line) }
    : pino.destination({ fd: to, sync: true })
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return {
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
  }
}

const prettyTo = (to: 1 | 2, line: string): boolean => {
  const { level, time, event, ...fields } = JSON.parse(line) as Record<string, unknown>
  const words = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const mark = level === 'info' ? '' : `${String(level).toUpperCase()} `
  const stream = to === 1 ? process.stdout : process.stderr
  return stream.write(`${String(time).slice(11, 19)} ${mark}${String(event)} ${words.join(' ')}\n`)
}

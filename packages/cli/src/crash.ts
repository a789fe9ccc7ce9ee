import { sep } from 'node:path'
import type { Log } from '@sluice/core'

/**
 * An exception outside any call of ours leaves the process in no known state: one log line, then the end. A plugin
 * whose file stands in the stack is named.
 */
export const exitOnCrash = (log: Log, plugins: Readonly<Record<string, string>>): void => {
  process.on('uncaughtException', (error: unknown) => {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const plugin = Object.entries(plugins).find(([, folder]) => stack.includes(folder + sep))?.[0]
    if (plugin) log.error('plugin.crashed', { plugin, error: stack })
    else log.error('process.crashed', { error: stack })
    process.exit(1)
  })
}

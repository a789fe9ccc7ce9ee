import { renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import v8 from 'node:v8'
import vm from 'node:vm'

/**
 * Loaded into a server that is measured: on SIGUSR2 it collects its garbage and writes what is in use then, KiB of
 * JavaScript and of what hangs on it, to a file that is named after it.
 */
export const reportOf = (pid: number): string => join(tmpdir(), `sluice-collected-${pid}`)

if (process.execArgv.some((argument) => argument.endsWith('collect.ts'))) {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc') as () => void
  process.on('SIGUSR2', () => {
    for (let times = 0; times < 3; times++) collect()
    const { heapUsed, external } = process.memoryUsage()
    writeFileSync(`${reportOf(process.pid)}.new`, String((heapUsed + external) / 1_024))
    renameSync(`${reportOf(process.pid)}.new`, reportOf(process.pid))
  })
}

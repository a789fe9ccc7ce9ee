import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Functions of CPU profiles by their own time: `node test/bench/profile.ts FOLDER [COUNT]`. A bench that was started
 * with BENCH_PROFILE=FOLDER leaves a profile of each of our servers there. Shares are of the time that was not idle.
 */
interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const root = new URL('../../', import.meta.url).href

const selfTimes = ({ nodes, samples, timeDeltas }: Profile): Map<string, number> => {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const place = url === '' ? '' : ` ${url.replace(root, '').replace('file://', '')}:${lineNumber + 1}`
      return [id, `${functionName || '(anonymous)'}${place}`]
    }),
  )
  const times = new Map<string, number>()
  samples.forEach((id, index) => {
    const name = names.get(id) ?? '?'
    times.set(name, (times.get(name) ?? 0) + timeDeltas[index]!)
  })
  return times
}

const [folder = '.', count = '30'] = process.argv.slice(2)
for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))) {
  const times = selfTimes(JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile)
  const idle = (times.get('(idle)') ?? 0) + (times.get('(program)') ?? 0)
  const busy = [...times.values()].reduce((sum, us) => sum + us, 0) - (times.get('(idle)') ?? 0)
  console.log(`── ${file}: ${Math.round(busy / 1_000)} ms busy, ${Math.round(idle / 1_000)} ms idle or native`)
  const sorted = [...times].filter(([name]) => name !== '(idle)').sort((a, b) => b[1] - a[1])
  for (const [name, us] of sorted.slice(0, Number(count)))
    console.log(`${((100 * us) / busy).toFixed(1).padStart(6)} % ${(us / 1_000).toFixed(0).padStart(7)} ms  ${name}`)
}

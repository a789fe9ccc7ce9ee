import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Bench, figures, metricsOf, type Result, summaries, type Verdict } from './harness.ts'
import type { Machine } from './machine.ts'
import { ratio, type Summary } from './statistics.ts'

export interface Report {
  readonly bench: string
  readonly commit: string
  readonly at: string
  readonly machine: Machine
  /** Load average of one and five minutes before and after: above the number of cores, look at ratios only. */
  readonly load: { readonly before: readonly [number, number]; readonly after: readonly [number, number] }
  readonly method: string
  readonly rounds: number
  readonly full: boolean
  readonly result: Result
}

const digits = (value: number): string => {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

const spread = ({ median, min, max }: Summary): string => `${digits(median)} (${digits(min)}–${digits(max)})`

const bound = ({ atMost, atLeast }: Verdict): string =>
  [atMost !== undefined && `≤ ${atMost}`, atLeast !== undefined && `≥ ${atLeast}`].filter(Boolean).join(' and ')

const head = ({ bench, commit, at, machine, load, method, rounds }: Report): string[] => [
  `── ${bench} · ${commit} · ${at}`,
  `   ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGB} GB, Linux ${machine.kernel}, Node ${machine.node}`,
  machine.pin
    ? `   server on core ${machine.pin.server}, load on core ${machine.pin.load}`
    : `   NOT pinned: ${machine.unpinned}`,
  `   load average ${load.before.join(', ')} before, ${load.after.join(', ')} after${
    load.after[0] > machine.cores ? ': OTHERS WORK HERE, trust ratios only' : ''
  }`,
  `   ${method}`,
  `   median (least–greatest) of ${rounds} round${rounds === 1 ? '' : 's'}, contenders in turn`,
]

const pairsOf = (bench: Bench, [first, ...others]: readonly string[]) =>
  bench.pairs ?? (bench.peers ?? others).map((peer) => [first as string, peer] as const)

/** A line a contender and metric, ratios to the first contender that is not ours, targets last. */
export const print = (report: Report, bench: Bench): string => {
  const { samples, unavailable, verdicts } = report.result
  const lines = head(report)
  for (const [name, all] of Object.entries(samples)) {
    for (const [metric, figure] of Object.entries(summaries(all)))
      lines.push(`   ${name.padEnd(20)} ${metric.padEnd(14)} ${spread(figure)}`)
  }
  for (const [ours, peer] of pairsOf(bench, Object.keys(samples))) {
    if (!samples[ours] || !samples[peer]) continue
    for (const metric of metricsOf(samples[ours])) {
      const [mine, theirs] = [figures(samples[ours], metric), figures(samples[peer], metric)]
      if (theirs.length > 0) lines.push(`   ${ours} / ${peer}: ${metric} × ${spread(ratio(mine, theirs))}`)
    }
  }
  for (const line of bench.explain?.(samples) ?? []) lines.push(`   ${line}`)
  for (const [name, why] of Object.entries(unavailable)) lines.push(`   ${name}: n/a, ${why}`)
  for (const verdict of verdicts) {
    const what = `${verdict.of}${verdict.against === undefined ? '' : ` / ${verdict.against}`} ${verdict.metric}`
    lines.push(`   ${verdict.met ? 'ok    ' : 'MISSED'} ${what} ${bound(verdict)}: ${digits(verdict.value)}`)
  }
  return lines.join('\n')
}

/** docs/results/BENCH.json; the newest replaces the one before, history is git's. */
export const write = (report: Report, bench: Bench): string => {
  const folder = fileURLToPath(new URL('../../docs/results/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const medians = Object.fromEntries(Object.entries(report.result.samples).map(([name, all]) => [name, summaries(all)]))
  const file = join(folder, `${report.bench}.json`)
  writeFileSync(file, `${JSON.stringify({ ...report, targets: bench.targets, medians }, undefined, 2)}\n`)
  return file
}

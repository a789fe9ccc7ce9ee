/**
 * What stands outside `npm test`: suites that need other toolchains or time. A suite is a folder or file whose default
 * export runs it, prints a line a check, and answers with its counts.
 */
export type Profile = 'ci' | 'full'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export type Suite = (options: { readonly profile: Profile }) => Promise<Counts>

export type Suites = Readonly<Record<string, () => Promise<{ readonly default: Suite }>>>

/**
 * Runs the suites named on the command line, or all; `--full` asserts times as well. The last line is
 * `N passed, N failed[, N skipped]`; the exit code says whether all passed.
 */
export const runSuites = async (suites: Suites, args: readonly string[]): Promise<void> => {
  const profile: Profile = args.includes('--full') ? 'full' : 'ci'
  const wanted = args.filter((arg) => !arg.startsWith('--'))
  const stranger = wanted.find((name) => !suites[name])
  if (stranger !== undefined) {
    console.error(`no suite ${stranger}; there are ${Object.keys(suites).join(', ')}`)
    process.exit(2)
  }
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const name of wanted.length > 0 ? wanted : Object.keys(suites)) {
    const began = Date.now()
    console.log(`── ${name} (${profile})`)
    const counts = await runOne(suites[name]!, profile)
    console.log(`── ${name}: ${words(counts)} in ${((Date.now() - began) / 1000).toFixed(0)} s`)
    total.passed += counts.passed
    total.failed += counts.failed
    total.skipped += counts.skipped
  }
  console.log(words(total))
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1)
}

const words = ({ passed, failed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`

const runOne = async (load: Suites[string], profile: Profile): Promise<Counts> => {
  try {
    return await (await load()).default({ profile })
  } catch (error) {
    console.log(`FAIL ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

/** Counts checks and prints one line each. */
export class Checks {
  passed = 0
  failed = 0
  skipped = 0

  async check(name: string, run: () => unknown): Promise<boolean> {
    const began = performance.now()
    try {
      await run()
      this.passed++
      console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`)
      return true
    } catch (error) {
      this.failed++
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      console.log(`FAIL ${name}\n${text.split('\n').slice(0, 12).join('\n')}`)
      return false
    }
  }

  /** `why` is printed: no case is passed over in silence. */
  skip(name: string, why: string): void {
    this.skipped++
    console.log(`n/a  ${name}: ${why}`)
  }

  get counts(): Counts {
    return { passed: this.passed, failed: this.failed, skipped: this.skipped }
  }
}

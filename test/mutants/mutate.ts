import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A planted fault, and the test that must notice it. */
export interface Mutant {
  /** What is broken, as a reader would say it. */
  readonly name: string
  /** From the repository's root. */
  readonly file: string
  /** Stands once in the file. */
  readonly from: string
  readonly to: string
  /** The test file, from the root, and the full name of the test or the end of it. */
  readonly suite: string
  readonly test: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const WITHIN_MS = 180_000

interface Assertion {
  readonly fullName: string
  readonly title: string
  readonly status: string
  readonly failureMessages: readonly string[]
}

/** Runs tests in a vitest of their own; with a mutant in the environment, its file is changed as it is loaded. */
const tests = (suites: readonly string[], mutant: Mutant | undefined): Promise<readonly Assertion[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-mutant-'))
  const output = join(folder, 'report.json')
  const child = spawn(
    join(root, 'node_modules/.bin/vitest'),
    ['run', '--config', 'test/mutants/vitest.config.ts', '--reporter=json', `--outputFile=${output}`, ...suites],
    {
      cwd: root,
      stdio: 'ignore',
      detached: true,
      env: { ...process.env, SLUICE_MUTANT: mutant ? JSON.stringify(mutant) : '' },
    },
  )
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), WITHIN_MS)
  return new Promise<readonly Assertion[]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => {
      try {
        const report = JSON.parse(readFileSync(output, 'utf8')) as { testResults: { assertionResults: Assertion[] }[] }
        resolve(report.testResults.flatMap(({ assertionResults }) => assertionResults))
      } catch {
        reject(new Error(`no report within ${WITHIN_MS} ms of ${suites.join(', ')}`))
      }
    })
  }).finally(() => {
    clearTimeout(timer)
    rmSync(folder, { recursive: true, force: true })
  })
}

const failedOf = (all: readonly Assertion[]) => all.filter(({ status }) => status === 'failed')

/** The test, and the seed and words of one that tries many. */
const foundBy = ({ title, failureMessages: [message = ''] }: Assertion): string => {
  const seed = /seed \d+: [^\n]*/.exec(message)?.[0]
  return seed === undefined ? `red is “${title}”` : seed.slice(0, 110)
}

interface Verdict {
  readonly isFound: boolean
  /** How its test turned red, or why the mutant proves nothing. */
  readonly text: string
}

const judge = async (mutant: Mutant, green: ReadonlySet<string>): Promise<Verdict> => {
  const failed = (text: string): Verdict => ({ isFound: false, text })
  const times = readFileSync(join(root, mutant.file), 'utf8').split(mutant.from).length - 1
  if (times !== 1) return failed(`its text stands ${times} times in ${mutant.file}`)
  if (![...green].some((name) => name.endsWith(mutant.test))) return failed(`no green test “${mutant.test}” without it`)
  const red = failedOf(await tests([mutant.suite], mutant))
  const hit = red.find(({ fullName }) => fullName.endsWith(mutant.test))
  if (hit) return { isFound: true, text: foundBy(hit) }
  return failed(red.length === 0 ? 'SURVIVED' : `other tests are red: ${red.map(({ title }) => title).join('; ')}`)
}

/** Prints a line a mutant and the counts, and exits with 1 unless every fault was noticed. Argument: a part of a name. */
export const runMutants = async (mutants: readonly Mutant[]): Promise<never> => {
  const [part = ''] = process.argv.slice(2)
  const wanted = mutants.filter(({ name }) => name.includes(part))
  const suites = [...new Set(wanted.map(({ suite }) => suite))]
  const sound = await tests(suites, undefined)
  const green = new Set(sound.flatMap(({ status, fullName }) => (status === 'passed' ? [fullName] : [])))
  let failed = 0
  for (const mutant of wanted) {
    const { isFound, text } = await judge(mutant, green)
    if (!isFound) failed++
    console.log(`${isFound ? 'ok  ' : 'FAIL'} ${mutant.name}: ${text}`)
  }
  console.log(`${wanted.length - failed} passed, ${failed} failed`)
  process.exit(failed === 0 && wanted.length > 0 ? 0 : 1)
}

/** One thing that is true or not. `run` rejects with what was seen instead. Any test runner can run a list of them. */
export interface Check {
  readonly name: string
  run(): Promise<void>
}

/** What a list of checks came to, for runners without a test framework. */
export interface Outcomes {
  readonly passed: number
  readonly failed: number
  readonly failures: readonly { readonly name: string; readonly error: unknown }[]
}

/** Runs them one after another. */
export const runChecks = async (checks: readonly Check[]): Promise<Outcomes> => {
  const failures: { name: string; error: unknown }[] = []
  for (const { name, run } of checks) {
    try {
      await run()
    } catch (error) {
      failures.push({ name, error })
    }
  }
  return { passed: checks.length - failures.length, failed: failures.length, failures }
}

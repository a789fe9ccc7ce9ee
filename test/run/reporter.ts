import type { Reporter, TestModule } from 'vitest/node'

/** Failures in full, and as last line the counts in the form that every suite here ends with. */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0
    let failed = 0
    let skipped = 0
    for (const module of modules) {
      if (module.children.size === 0 && !module.ok()) failed++
      for (const error of module.errors()) console.log(`FAIL ${module.moduleId}\n${error.stack ?? error.message}`)
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result()
        if (state === 'passed') passed++
        else if (state === 'failed') failed++
        else skipped++
        for (const error of errors ?? []) {
          console.log(`FAIL ${test.fullName}\n${error.stack ?? error.message}\n${error.diff?.slice(0, 2_000) ?? ''}`)
        }
      }
    }
    console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  }
}

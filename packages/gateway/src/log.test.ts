import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

const module = JSON.stringify(new URL('./log.ts', import.meta.url).href)
/** In a process of its own: what it writes goes to the descriptor itself. */
const run = (options: object, calls: string) => {
  const script = `const { createLog } = await import(${module}); const log = createLog(${JSON.stringify(options)}); ${calls}`
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=@sluice/source', '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  )
  return { stdout, stderr }
}
const calls = "log.info('a.b', { n: 1, text: 'x y' }); log.warn('w'); log.error('e', { list: [1] }); process.exit(0)"

describe('the log', () => {
  it('is JSON lines where nobody looks, written before the call returns', () => {
    const { stdout, stderr } = run({ level: 'info', format: 'auto', to: 1 }, calls)
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { time: string })
    expect(lines).toEqual([
      { level: 'info', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/), event: 'a.b', n: 1, text: 'x y' },
      { level: 'warn', time: expect.any(String), event: 'w' },
      { level: 'error', time: expect.any(String), event: 'e', list: [1] },
    ])
    expect(stderr).toBe('')
  })

  it('is for people when asked, and says no more than its level', () => {
    const { stdout, stderr } = run({ level: 'warn', format: 'pretty', to: 2 }, calls)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^\d\d:\d\d:\d\d WARN w \n\d\d:\d\d:\d\d ERROR e list=\[1\]\n$/)
    expect(run({ level: 'silent', format: 'json', to: 2 }, calls).stderr).toBe('')
  })
})

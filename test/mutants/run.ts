import { spawn } from 'node:child_process'

/** The lists of planted faults: all of them, or those named on the command line. Ends with the sum of their counts. */
const lists = ['core', 'broker', 'remoting', 'grpc', 'mqtt']
const LINE = /^(\d+) passed, (\d+) failed/gm

const run = (list: string): Promise<{ readonly passed: number; readonly failed: number }> =>
  new Promise((resolve, reject) => {
    const script = new URL(`./${list}.ts`, import.meta.url).pathname
    const child = spawn(process.execPath, ['--conditions=@sluice/source', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      process.stdout.write(chunk)
    })
    child.on('error', reject)
    child.on('close', (code) => {
      const counts = [...text.matchAll(LINE)].at(-1)
      const passed = Number(counts?.[1] ?? 0)
      const failed = Number(counts?.[2] ?? 0)
      resolve({ passed, failed: code !== 0 && failed === 0 ? 1 : failed })
    })
  })

const wanted = process.argv.slice(2)
const total = { passed: 0, failed: 0 }
for (const list of wanted.length > 0 ? wanted : lists) {
  console.log(`── ${list}`)
  const { passed, failed } = await run(list)
  total.passed += passed
  total.failed += failed
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1

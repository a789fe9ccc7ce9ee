import { Fault } from '@sluice/core'
import { fakeClock } from '@sluice/testkit'
import { describe, expect, it } from 'vitest'
import { Line } from './line.ts'
import type { TelemetryCommand } from './wire.ts'

const print = (nonce: string): TelemetryCommand => ({ print_thread_stack_trace_command: { nonce } })
const code = (asked: Promise<unknown>) => asked.then(String, (error) => Fault.from(error).code)

describe('a question to a client', () => {
  it('is answered by its own nonce, once', async () => {
    const line = new Line(fakeClock())
    const said: TelemetryCommand[] = []
    line.spoke((command) => said.push(command))
    const [one, two] = [line.ask(print), line.ask(print)]
    const [first, second] = said.map((command) => command.print_thread_stack_trace_command!.nonce)
    line.heard({ thread_stack_trace: { nonce: second!, thread_stack_trace: 'two' } })
    line.heard({ verify_message_command: { nonce: first! } })
    line.heard({ thread_stack_trace: { nonce: first!, thread_stack_trace: 'late' } })
    expect((await two).thread_stack_trace?.thread_stack_trace).toBe('two')
    expect((await one).verify_message_command?.nonce).toBe(first)
  })

  it('is given up after five seconds, and not asked without a stream', async () => {
    const clock = fakeClock()
    const line = new Line(clock)
    expect(await code(line.ask(print))).toBe('unavailable')
    const say = () => undefined
    line.spoke(say)
    const asked = code(line.ask(print))
    clock.advance(5_000)
    expect(await asked).toBe('outcomeUnknown')
    line.closed(say)
    expect(await code(line.ask(print))).toBe('unavailable')
  })

  it('is one of 64 at most', async () => {
    const clock = fakeClock()
    const line = new Line(clock)
    line.spoke(() => undefined)
    const waiting = Array.from({ length: 64 }, () => code(line.ask(print)))
    expect(await code(line.ask(print))).toBe('limit')
    clock.advance(5_000)
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['outcomeUnknown']))
    const again = code(line.ask(print))
    clock.advance(5_000)
    expect(await again).toBe('outcomeUnknown')
  })
})

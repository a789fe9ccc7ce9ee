import { describe, expect, it } from 'vitest'
import { createMeter, Histogram, Metrics } from './metrics.ts'

describe('metrics', () => {
  it('are written as Prometheus reads them', () => {
    const metrics = new Metrics()
    const count = metrics.counter('a_total', 'A.')
    count({ x: 'one' }).value++
    count({ x: 'one' }).value++
    count({ x: 'q"b\\s\nn' }).value++
    metrics.gauge('b', 'B.', () => [
      [{}, 1.5],
      [{ y: '1' }, 0],
    ])
    metrics.total('c_total', 'C.', () => [[{}, 7]])
    metrics.gauge('d', 'D, of which there is none.', () => [])
    expect(metrics.text()).toBe(
      [
        '# HELP a_total A.',
        '# TYPE a_total counter',
        'a_total{x="one"} 2',
        'a_total{x="q\\"b\\\\s\\nn"} 1',
        '# HELP b B.',
        '# TYPE b gauge',
        'b 1.5',
        'b{y="1"} 0',
        '# HELP c_total C.',
        '# TYPE c_total counter',
        'c_total 7',
        '# HELP d D, of which there is none.',
        '# TYPE d gauge',
        '',
      ].join('\n'),
    )
  })

  it('of a histogram count each observation once, and every bucket what is below it', () => {
    const histogram = new Histogram()
    for (const seconds of [0.0001, 0.0005, 0.02, 31]) histogram.observe(seconds)
    const lines = histogram.lines('h', { p: 'x' })
    expect(lines).toHaveLength(18)
    expect(lines).toContain('h_bucket{p="x",le="0.0005"} 2')
    expect(lines).toContain('h_bucket{p="x",le="0.01"} 2')
    expect(lines).toContain('h_bucket{p="x",le="0.025"} 3')
    expect(lines).toContain('h_bucket{p="x",le="30"} 3')
    expect(lines).toContain('h_bucket{p="x",le="+Inf"} 4')
    expect(lines).toContain('h_count{p="x"} 4')
    expect(Number(lines.find((line) => line.startsWith('h_sum'))!.split(' ')[1])).toBeCloseTo(31.0206)
    const metrics = new Metrics()
    const make = metrics.histogram('g', 'G.')
    make({}).observe(1)
    expect(make({})).toBe(make({}))
    expect(metrics.text()).toContain('# TYPE g histogram\ng_bucket{le="0.0005"} 0\n')
  })

  it('of a histogram that somebody else keeps are read when they are asked for', () => {
    const metrics = new Metrics()
    const spread = { bounds: [0.1, 1], counts: [2, 0, 1], sum: 7 }
    metrics.spread('s', 'S.', () => spread)
    const lines = ['s_bucket{le="0.1"} 2', 's_bucket{le="1"} 2', 's_bucket{le="+Inf"} 3', 's_sum 7', 's_count 3']
    expect(metrics.text()).toBe(['# HELP s S.', '# TYPE s histogram', ...lines, ''].join('\n'))
    spread.counts[1] = 5
    expect(metrics.text()).toContain('s_bucket{le="1"} 7\n')
  })

  it('of commands: outcomes, time, what is under way, polls, messages', () => {
    const metrics = new Metrics()
    const meter = createMeter(metrics)
    meter.began('p')
    meter.began('p')
    meter.polls('p', 1)
    meter.ended('p', 'publish', 'ok', 2)
    meter.messagesIn('p', 3, 30)
    meter.messagesOut('q', 4)
    const text = metrics.text()
    for (const line of [
      'sluice_commands_total{protocol="p",command="publish",outcome="ok"} 1',
      'sluice_command_duration_seconds_bucket{protocol="p",command="publish",le="0.0025"} 1',
      'sluice_inflight_commands{protocol="p"} 1',
      'sluice_parked_polls{protocol="p"} 1',
      'sluice_messages_in_total{protocol="p"} 3',
      'sluice_bytes_in_total{protocol="p"} 30',
      'sluice_messages_out_total{protocol="q"} 4',
    ])
      expect(text).toContain(`${line}\n`)
    meter.polls('p', -1)
    expect(metrics.text()).toContain('sluice_parked_polls{protocol="p"} 0\n')
  })
})

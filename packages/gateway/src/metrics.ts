import type { Spread } from '@sluice/broker'
import type { Kind } from '@sluice/core'
import type { Meter } from '@sluice/governance'

type Labels = Readonly<Record<string, string>>

/** A number with labels. Incremented by hand on hot paths, where making label strings would cost more than counting. */
export interface Cell {
  value: number
}

type Read = () => Iterable<readonly [Labels, number]>

interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  lines(): string[]
}

/** Upper bounds in seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Counters, gauges and histograms of one gateway in the Prometheus text format. Nothing is shared between gateways. */
export class Metrics {
  readonly #families: Family[] = []

  counter(name: string, help: string): (labels: Labels) => Cell {
    return this.#cells(name, help, 'counter')
  }

  /** Read when it is asked for. */
  gauge(name: string, help: string, read: Read): void {
    this.#read(name, help, 'gauge', read)
  }

  /** A counter that somebody else keeps: read when it is asked for. */
  total(name: string, help: string, read: Read): void {
    this.#read(name, help, 'counter', read)
  }

  histogram(name: string, help: string): (labels: Labels) => Histogram {
    const all = new Map<string, { labels: Labels; histogram: Histogram }>()
    this.#families.push({
      name,
      help,
      type: 'histogram',
      lines: () => [...all.values()].flatMap(({ labels, histogram }) => histogram.lines(name, labels)),
    })
    return (labels) => {
      const key = text(labels)
      let entry = all.get(key)
      if (!entry) all.set(key, (entry = { labels, histogram: new Histogram() }))
      return entry.histogram
    }
  }

  /** A histogram that somebody else keeps: read when it is asked for. */
  spread(name: string, help: string, read: () => Spread): void {
    this.#families.push({ name, help, type: 'histogram', lines: () => spreadLines(name, {}, read()) })
  }

  /** Prometheus text format 0.0.4. */
  text(): string {
    const lines = this.#families.flatMap((family) => [
      `# HELP ${family.name} ${family.help}`,
      `# TYPE ${family.name} ${family.type}`,
      ...family.lines(),
    ])
    return `${lines.join('\n')}\n`
  }

  #read(name: string, help: string, type: 'counter' | 'gauge', read: Read): void {
    const lines = () => Array.from(read(), ([labels, value]) => `${name}${text(labels)} ${value}`)
    this.#families.push({ name, help, type, lines })
  }

  #cells(name: string, help: string, type: 'counter'): (labels: Labels) => Cell {
    const cells = new Map<string, Cell>()
    this.#families.push({
      name,
      help,
      type,
      lines: () => [...cells].map(([labels, { value }]) => `${name}${labels} ${value}`),
    })
    return (labels) => {
      const key = text(labels)
      let cell = cells.get(key)
      if (!cell) cells.set(key, (cell = { value: 0 }))
      return cell
    }
  }
}

export class Histogram {
  readonly #counts = new Array<number>(BUCKETS.length + 1).fill(0)
  #sum = 0

  observe(seconds: number): void {
    let at = 0
    while (at < BUCKETS.length && seconds > BUCKETS[at]!) at++
    this.#counts[at]!++
    this.#sum += seconds
  }

  lines(name: string, labels: Labels): string[] {
    return spreadLines(name, labels, { bounds: BUCKETS, counts: this.#counts, sum: this.#sum })
  }
}

/** As Prometheus reads it: every bucket counts what is below it. */
const spreadLines = (name: string, labels: Labels, { bounds, counts, sum }: Spread): string[] => {
  let total = 0
  const buckets = counts.map((count, at) => {
    total += count
    return `${name}_bucket${text({ ...labels, le: at < bounds.length ? String(bounds[at]) : '+Inf' })} ${total}`
  })
  return [...buckets, `${name}_sum${text(labels)} ${sum}`, `${name}_count${text(labels)} ${total}`]
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' }

const text = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (character) => escapes[character]!)}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** The figures of commands: cells are looked up once a protocol, kind and outcome. */
export const createMeter = (metrics: Metrics): Meter => {
  const commands = metrics.counter('sluice_commands_total', 'Commands by their outcome.')
  const duration = metrics.histogram('sluice_command_duration_seconds', 'Time from command to reply.')
  const messagesIn = metrics.counter('sluice_messages_in_total', 'Messages stored.')
  const bytesIn = metrics.counter('sluice_bytes_in_total', 'Bytes of stored bodies.')
  const messagesOut = metrics.counter('sluice_messages_out_total', 'Messages handed to consumers.')
  const inflight = new Map<string, Cell>()
  metrics.gauge('sluice_inflight_commands', 'Commands without a reply, parked polls among them.', () =>
    [...inflight].map(([protocol, { value }]) => [{ protocol }, value] as const),
  )
  const outcomes = nested((protocol: string, kind: string, outcome: string) =>
    commands({ protocol, command: kind, outcome }),
  )
  const durations = nested((protocol: string, kind: string) => duration({ protocol, command: kind }))
  const flights = nested((protocol: string) => {
    const cell = { value: 0 }
    inflight.set(protocol, cell)
    return cell
  })
  const into = nested((protocol: string) => ({ messages: messagesIn({ protocol }), bytes: bytesIn({ protocol }) }))
  const out = nested((protocol: string) => messagesOut({ protocol }))
  const polls = new Map<string, Cell>()
  metrics.gauge('sluice_parked_polls', 'Polls without an answer.', () =>
    [...polls].map(([protocol, { value }]) => [{ protocol }, value] as const),
  )
  const parked = nested((protocol: string) => {
    const cell = { value: 0 }
    polls.set(protocol, cell)
    return cell
  })
  return {
    began: (protocol) => flights(protocol).value++,
    ended(protocol, kind: Kind, outcome, took) {
      flights(protocol).value--
      outcomes(protocol, kind, outcome).value++
      durations(protocol, kind).observe(took / 1_000)
    },
    messagesIn(protocol, messages, bytes) {
      const cells = into(protocol)
      cells.messages.value += messages
      cells.bytes.value += bytes
    },
    messagesOut(protocol, messages) {
      out(protocol).value += messages
    },
    polls(protocol, change) {
      parked(protocol).value += change
    },
  }
}

/** Remembers what `make` made for these words, without gluing them into a key on each call. */
const nested = <Words extends readonly string[], Made>(
  make: (...words: Words) => Made,
): ((...words: Words) => Made) => {
  const root = new Map<string, unknown>()
  return (...words) => {
    let at = root
    for (let depth = 0; depth < words.length - 1; depth++) {
      let next = at.get(words[depth]!) as Map<string, unknown> | undefined
      if (!next) at.set(words[depth]!, (next = new Map()))
      at = next
    }
    const last = words.at(-1)!
    let made = at.get(last) as Made | undefined
    if (made === undefined) at.set(last, (made = make(...words)))
    return made
  }
}

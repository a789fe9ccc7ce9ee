import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type Broker, openBroker } from '@sluice/broker'
import { type CommandOf, type Kind, keepHeadroom, type ReplyTo } from '@sluice/core'
import { contextOf, sessionOf } from '@sluice/testkit'

const context = contextOf(sessionOf('bench/1'))

/** A broker alone in this process, for loads that ask what many of something cost it. */
export interface Lone {
  run<K extends Kind>(command: CommandOf<K>, signal?: AbortSignal): Promise<ReplyTo<K>>
  publish(topic: string, path?: string): Promise<ReplyTo<'publish'>>
  /** Closes it and prints the sample. */
  end(sample: Readonly<Record<string, number>>): Promise<never>
}

export const lone = async (): Promise<Lone> => {
  keepHeadroom() // as every process of ours
  const dir = await mkdtemp(join(tmpdir(), 'sluice-waiting-'))
  const broker: Broker = await openBroker({ dir, flush: 'async', defaultQueues: 1 })
  const run: Lone['run'] = (command, signal) =>
    broker.execute(broker.node, command, signal ? { ...context, signal } : context)
  return {
    run,
    publish: (topic, path) =>
      run<'publish'>({
        kind: 'publish',
        messages: [{ topic, body: Buffer.from('x'), properties: {}, ...(path !== undefined && { path }) }],
        oneway: false,
      }),
    end: async (sample) => {
      await broker.close()
      await rm(dir, { recursive: true, force: true })
      console.log(JSON.stringify(sample))
      process.exit(0)
    },
  }
}

export const turn = () => new Promise((resolve) => setImmediate(resolve))

export interface Held {
  readonly rss: number
  /** What is alive in the heap and in buffers. */
  readonly heap: number
}

/** After a collection that gives back what it can: the young generation's size is no measure of what waits. */
export const held = async (): Promise<Held> => {
  for (let times = 0; times < 4; times++) {
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    await setTimeout(50)
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heap: heapUsed + external }
}

/** The greater of the two, so that neither pages that were free before nor ones that are half empty hide anything. */
export const grown = (before: Held, after: Held, count: number) => ({
  bytesEach: Math.round(Math.max(after.rss - before.rss, after.heap - before.heap) / count),
  heapBytesEach: Math.round((after.heap - before.heap) / count),
})

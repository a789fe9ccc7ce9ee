import assert from 'node:assert/strict'
import type { RunningGateway } from '@sluice/gateway'
import type { MatrixClient, Target } from './client.ts'
import { assertAll } from './expect.ts'
import { samples } from './samples.ts'

/** Counters of the gateway under a prefix, by name and labels, as its metrics page has them. */
export const counters = async (gateway: RunningGateway, prefix: string): Promise<Readonly<Record<string, number>>> => {
  const text = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
  const found = text.split('\n').filter((line) => line.startsWith(prefix))
  return Object.fromEntries(
    found.map((line) => {
      const blank = line.lastIndexOf(' ')
      return [line.slice(0, blank), Number(line.slice(blank + 1))]
    }),
  )
}

/** What has grown from one reading to the next. */
export const growth = (before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>) =>
  Object.fromEntries(
    Object.entries(after).flatMap(([name, value]) =>
      value === (before[name] ?? 0) ? [] : [[name, value - (before[name] ?? 0)]],
    ),
  )

export interface CellOptions {
  readonly gateway: RunningGateway
  readonly producerAt: Target
  readonly consumerAt: Target
  readonly from: MatrixClient
  readonly to: MatrixClient
  readonly count: number
  /** Tells cells of the same pair apart. */
  readonly run: string
  readonly patienceMs: number
}

/**
 * One producer, one consumer, `count` messages: none lost, none twice while no lease expired and no connection was
 * lost, every field as the conversion table says, and exactly the losses that it announces: none.
 */
export const runCell = async ({
  gateway,
  producerAt,
  consumerAt,
  from,
  to,
  count,
  run,
  patienceMs,
}: CellOptions): Promise<void> => {
  const topic = `matrix-${run}-${from.name}-${to.name}`
  const sent = samples(count, !from.refusesEmpty)
  const lossesBefore = await counters(gateway, 'sluice_conversion_loss_total')
  if (to.wantsTopicFirst) await createTopic(gateway, topic)
  const consumer = await to.consumer(consumerAt, topic, `g-${topic}`)
  const producer = await from.producer(producerAt, topic)
  try {
    const closedBefore = await closedOf(gateway, [from, to])
    if (from.refusesEmpty) assert.equal(await producer.sendEmpty(), false, `${from.name} takes an empty body`)
    await producer.send(sent)
    await consumer.wait(sent.length, patienceMs)
    assert.deepEqual(growth(closedBefore, await closedOf(gateway, [from, to])), {}, 'connections lost')
    const again = consumer.received.filter(({ attempt }) => attempt !== 1)
    assert.equal(again.length, 0, 'deliveries after an expired lease')
    assertAll(sent, consumer.received, from, to)
    // The samples hold no types and no repeats of one protocol alone: of these five columns the table announces no loss.
    assert.deepEqual(growth(lossesBefore, await counters(gateway, 'sluice_conversion_loss_total')), {}, 'losses')
  } finally {
    await Promise.allSettled([producer.close(), consumer.close()])
    await allGone(gateway, [from, to])
  }
}

const createTopic = async (gateway: RunningGateway, topic: string): Promise<void> => {
  const reply = await fetch(`http://127.0.0.1:${gateway.adminPort}/v1/topics/${topic}`, { method: 'PUT' })
  assert.equal(reply.status, 200)
}

/** Connections of these clients' protocols that have ended. */
const closedOf = async (gateway: RunningGateway, clients: readonly MatrixClient[]) => {
  const wanted = protocolsOf(clients)
  const all = await counters(gateway, 'sluice_connections_closed_total')
  return Object.fromEntries(
    Object.entries(all).filter(([name]) => [...wanted].some((protocol) => name.includes(`"${protocol}"`))),
  )
}

const protocolsOf = (clients: readonly MatrixClient[]): ReadonlySet<string> => new Set(clients.map(({ name }) => name))

/** Clients close a moment after they say so; the next cell must not count that as a lost connection. */
const allGone = async (gateway: RunningGateway, clients: readonly MatrixClient[]): Promise<void> => {
  // fetch keeps its connections for the next request, a JVM for its next producer.
  const wanted = protocolsOf(clients.filter(({ name }) => name !== 'http' && name !== 'remoting'))
  for (let turn = 0; turn < 250; turn++) {
    const open = Object.entries(await counters(gateway, 'sluice_connections{')).filter(
      ([name, value]) => value > 0 && [...wanted].some((protocol) => name.includes(`"${protocol}"`)),
    )
    if (open.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

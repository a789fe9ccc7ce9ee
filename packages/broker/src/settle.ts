import { type CommandOf, Fault, type Lease, type Outcome, type Receipt, type Replies, type Slot } from '@sluice/core'
import { editProperties, system, viewRecord } from '@sluice/remoting'
import type { Core } from './core.ts'
import type { Cursor, Held } from './cursor.ts'
import { copyToDead, deadLetter } from './dead.ts'
import { receiptExpired } from './errors.ts'
import { writeRenewed, writeSettled } from './events.ts'
import { backoffOf, type GroupTopic } from './groups.ts'
import { leaseOf } from './popTake.ts'
import { wakeNext, wakeWhenDue } from './popWake.ts'
import { again, appendTo, delay, refusal } from './publish.ts'
import { recordAt } from './read.ts'
import { settleSlots } from './slots.ts'
import { topicOrNew } from './topicCommands.ts'
import { retryTopic } from './topics.ts'

type Failed = Replies['settle']['failed'][number]
type Retry = Extract<Outcome, { kind: 'retry' }>

/** Receipts of one command. */
const RECEIPTS_MAX = 10_000

interface Answer {
  readonly failed: Failed[]
  renewed: (Receipt | undefined)[] | undefined
}

/** The lease that a receipt speaks of. @throws Fault 'receiptExpired' about 'receipt' when it does not hold any more */
export const heldBy = (core: Core, receipt: Lease): { groupTopic: GroupTopic; cursor: Cursor; held: Held } => {
  const groupTopic = core.state.groups.get(receipt.group)?.topics.get(receipt.topic)
  const cursor = groupTopic?.cursors.get(receipt.queue)
  const held = cursor?.held.get(receipt.offset)
  if (!groupTopic || !cursor || !held || held.poppedAt !== receipt.poppedAt || held.dying) throw receiptExpired()
  return { groupTopic, cursor, held }
}

/** All acceptances of one queue are one entry. */
export const acceptAll = (core: Core, receipts: readonly { at: number; receipt: Lease }[], answer: Answer): void => {
  const queues = new Map<Cursor, { groupTopic: GroupTopic; queue: number; offsets: number[] }>()
  for (const { at, receipt } of receipts) {
    try {
      const { groupTopic, cursor, held } = heldBy(core, receipt)
      cursor.settle(held.offset)
      const known = queues.get(cursor)
      if (known) known.offsets.push(held.offset)
      else queues.set(cursor, { groupTopic, queue: receipt.queue, offsets: [held.offset] })
    } catch (error) {
      answer.failed.push({ at, fault: refusal(error) })
    }
  }
  for (const [cursor, { groupTopic, queue, offsets }] of queues) {
    core.log.append(writeSettled({ group: groupTopic.group.spec.group, topic: groupTopic.topic, queue }, offsets))
    // A FIFO group's next batch was waiting for the last of this one.
    if (cursor.held.size === 0) wakeNext(groupTopic)
  }
}

/** Nack, delayed nack and extension are one: the message is there again after a time, and the old receipt is void. */
const retryOne = async (core: Core, receipt: Lease, outcome: Retry): Promise<Lease | undefined> => {
  if (receipt.poppedAt === 0) return sendBack(core, receipt, outcome)
  const { groupTopic, cursor, held } = heldBy(core, receipt)
  const { group } = groupTopic
  if (outcome.counts && outcome.limit !== undefined && held.attempt >= outcome.limit) {
    await deadOne(core, receipt, 'limit')
    return undefined
  }
  const after = outcome.after ?? backoffOf(group.spec, held.attempt)
  const poppedAt = Math.max(core.clock.now(), held.poppedAt + 1)
  const next = outcome.counts ? held.attempt + 1 : held.attempt
  const { attempt, offset } = held
  const where = { group: group.spec.group, topic: groupTopic.topic, queue: receipt.queue }
  core.log.append(writeRenewed({ ...where, offset, poppedAt, invisible: after, attempt, next }))
  cursor.move(held, { poppedAt, invisible: after, attempt, next, session: undefined })
  // An extension may run out like any lease.
  held.returned = outcome.counts
  if (after === 0) {
    // Now, although its receipt's time may lie ahead of the clock to differ from the one before.
    cursor.giveBack(held, core.clock.now())
    wakeNext(groupTopic)
  } else wakeWhenDue(core, groupTopic)
  return after === 0
    ? undefined
    : leaseOf(core, groupTopic, receipt.queue, held, receipt.place, receipt.first, receipt.revive === 999)
}

const deadOne = async (core: Core, receipt: Lease, reason: string): Promise<void> => {
  if (receipt.poppedAt === 0) return deadUnleased(core, receipt)
  const { groupTopic, cursor, held } = heldBy(core, receipt)
  const queue = core.state.topics.get(receipt.topic)?.queues[receipt.queue]
  if (!queue || held.offset < queue.records.min) throw receiptExpired()
  const end = await deadLetter(core, groupTopic, queue, cursor, held, reason)
  if (end === 'gone') throw receiptExpired()
  if (end === 'failed') throw new Fault('unavailable', 'the dead letter could not be written')
}

/** A message that was pulled and never leased, by its place. @throws Fault 'notFound' about 'place', 'invalid' about 'receipt' */
const unleased = async (core: Core, receipt: Lease) => {
  const message = viewRecord(await recordAt(core, receipt.place), core.settings.node)
  if (receipt.topic !== '' && message.topic !== receipt.topic && message.property(system.retryTopic) !== receipt.topic)
    throw new Fault('invalid', 'the message at this place is of another topic', { about: 'receipt' })
  return message
}

const deadUnleased = async (core: Core, receipt: Lease): Promise<void> => {
  const message = await unleased(core, receipt)
  copyToDead(core, core.state.group(receipt.group).spec.group, message, message.reconsumeTimes + 1, false)
}

const over: ReadonlySet<string> = new Set([system.delayLevel, system.delaySeconds, system.delayMs, system.deliverAt])

/** Sent back by a consumer that keeps its own offsets: a copy in %RETRY%group, one attempt further, after the back-off. */
const sendBack = async (core: Core, receipt: Lease, outcome: Retry): Promise<undefined> => {
  const message = await unleased(core, receipt)
  const { spec } = core.state.group(receipt.group)
  const attempt = message.reconsumeTimes + 1
  if (outcome.counts && attempt >= (outcome.limit ?? spec.maxAttempts)) {
    copyToDead(core, spec.group, message, attempt, false)
    return
  }
  const name = retryTopic(spec.group)
  const packed = editProperties(message.packed, over, {
    [system.retryTopic]: message.property(system.retryTopic) ?? message.topic,
    [system.originId]: message.property(system.originId) ?? message.offsetMsgId,
  })
  const queue = topicOrNew(core, name).pick(undefined)
  const copy = again(message, packed, name)
  const more = { reconsumeTimes: outcome.counts ? attempt : attempt - 1 }
  const after = outcome.after ?? backoffOf(spec, attempt)
  if (after > 0) delay(core, { ...queue.queue, index: -1 }, copy, core.clock.now() + after, more)
  else appendTo(core, queue, copy, more)
}

const settleOne = async (core: Core, at: number, receipt: Lease, outcome: Outcome, answer: Answer): Promise<void> => {
  try {
    if (outcome.kind === 'received')
      throw new Fault('invalid', 'only numbered deliveries can be received', { about: 'outcome' })
    if (outcome.kind === 'dead') await deadOne(core, receipt, outcome.reason ?? 'asked')
    else if (outcome.kind === 'retry') {
      const renewed = await retryOne(core, receipt, outcome)
      if (renewed) (answer.renewed ??= [])[at] = renewed
    }
  } catch (error) {
    answer.failed.push({ at, fault: refusal(error) })
  }
}

const none: Replies['settle'] = { failed: [] }

/** Durable when it answers. */
export const settle = async (core: Core, { receipts, outcome }: CommandOf<'settle'>): Promise<Replies['settle']> => {
  core.log.admit()
  if (receipts.length > RECEIPTS_MAX) throw new Fault('limit', `over ${RECEIPTS_MAX} receipts in one command`)
  const answer: Answer = { failed: [], renewed: undefined }
  const leases: { at: number; receipt: Lease }[] = []
  const slots: { at: number; receipt: Slot }[] = []
  receipts.forEach((receipt, at) => {
    if (receipt.of === 'group') leases.push({ at, receipt })
    else slots.push({ at, receipt })
  })
  if (outcome.kind === 'accept') acceptAll(core, leases, answer)
  else for (const { at, receipt } of leases) await settleOne(core, at, receipt, outcome, answer)
  let durable = leases.length > answer.failed.length
  if (slots.length > 0) durable = settleSlots(core, slots, outcome, answer.failed) || durable
  if (durable) await core.log.done()
  if (answer.failed.length === 0 && !answer.renewed) return none
  const { renewed } = answer
  if (!renewed) return { failed: answer.failed }
  return { failed: answer.failed, renewed: Array.from(receipts, (_, at) => renewed[at]) }
}

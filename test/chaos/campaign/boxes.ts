import type { Binding, Delivered, Slot } from '@sluice/core'
import { turns } from '@sluice/testkit'
import { fail } from './fail.ts'
import { head } from './model.ts'
import { INBOX, type World } from './world.ts'

/** What inboxes that draw from one place must hold: each message in one of them, until it is accepted. */
export class Boxes {
  readonly names: readonly string[]
  readonly binding: Binding
  readonly epochs = new Map<string, number>()
  /** Inboxes whose binding was acknowledged. */
  readonly bound = new Set<string>()
  /** What must still be held, with its place. */
  readonly waiting = new Map<string, number>()
  /** What it was told to be done with, answered or not: it may be told before its publisher is. */
  readonly settling = new Set<string>()
  readonly accepted = new Set<string>()
  /** Number under which each message was handed out. */
  readonly slots = new Map<string, Slot>()
  /** Of which the client has the content (QoS 2); whether that was acknowledged. */
  readonly received = new Map<string, boolean>()

  constructor(names: readonly string[], binding: Binding) {
    this.names = names
    this.binding = binding
  }

  /** Acknowledged to its publisher, after a binding was to its client. */
  published(body: string, place: number): void {
    if (!this.settling.has(body)) this.waiting.set(body, place)
  }
}

export const inboxBoxes = (): Boxes => new Boxes([INBOX], { pattern: 'A/#', retained: 'skip' })
export const sharedBoxes = (): Boxes => new Boxes(['s1', 's2'], { pattern: 'B/#', share: 'sh', retained: 'skip' })

export const openBoxes = async (world: World, boxes: Boxes): Promise<void> => {
  for (const name of boxes.names) boxes.epochs.set(name, await world.openBox(name))
}

const pop = async (world: World, boxes: Boxes, name: string, max: number): Promise<Delivered[]> => {
  const delivered = await world.popInbox(max, name, boxes.epochs.get(name)!)
  for (const { message, receipt, received } of delivered) {
    const body = message.body.toString()
    const slot = receipt as Slot
    const before = boxes.slots.get(body)
    const isSure = boxes.received.get(body) === true
    if (received && !boxes.received.has(body)) fail(`${head(body)} is said to be received, which nobody said`)
    if (isSure && !received) fail(`${head(body)} comes with its content again`)
    const isSame = before?.inbox === slot.inbox && before.slot === slot.slot
    if (before && !isSame && (isSure || world.site.keepsLeases))
      fail(`${head(body)} was number ${before.slot} of ${before.inbox}, now ${slot.slot} of ${slot.inbox}`)
    boxes.slots.set(body, slot)
  }
  return delivered
}

const settle = async (world: World, boxes: Boxes, some: readonly string[], kind: 'accept' | 'received') => {
  // One last word for each, whoever has it.
  const bodies = some.filter((body) => !boxes.settling.has(body))
  if (bodies.length === 0) return
  for (const body of bodies) {
    if (kind === 'received') {
      if (!boxes.received.has(body)) boxes.received.set(body, false)
      continue
    }
    boxes.settling.add(body)
    boxes.waiting.delete(body)
  }
  const receipts = bodies.map((body) => {
    const slot = boxes.slots.get(body)!
    return { ...slot, epoch: boxes.epochs.get(slot.inbox)! }
  })
  const { failed } = await world.settle(receipts, { kind })
  bodies.forEach((body, at) => {
    const fault = failed.find((one) => one.at === at)?.fault
    if (fault) throw fault
    if (kind === 'accept') boxes.accepted.add(body)
    else boxes.received.set(body, true)
  })
}

const consume = async (world: World, boxes: Boxes): Promise<void> => {
  const { random } = world
  const name = random.pick(boxes.names)
  if (!boxes.bound.has(name)) {
    const epoch = boxes.epochs.get(name)!
    await world.run<'bind'>({ kind: 'bind', inbox: name, epoch, add: [boxes.binding], remove: [] })
    boxes.bound.add(name)
  }
  const delivered = await pop(world, boxes, name, 1 + random.int(5))
  if (delivered.length === 0) return
  await turns(random.int(4))
  const some = delivered.slice(0, random.int(delivered.length + 1)).map(({ message }) => message.body.toString())
  await settle(world, boxes, some, random.chance(0.3) ? 'received' : 'accept')
}

/** The last word of what was received. */
const release = async (world: World): Promise<void> => {
  for (const boxes of [world.model.inbox, world.model.shared]) {
    const open = [...boxes.received].filter(([body, isSure]) => isSure && !boxes.settling.has(body))
    await settle(
      world,
      boxes,
      open.slice(0, 3).map(([body]) => body),
      'accept',
    )
  }
}

const inbox = (world: World): Promise<void> => consume(world, world.model.inbox)
const shared = (world: World): Promise<void> => consume(world, world.model.shared)

export const boxOperations = [inbox, inbox, shared, shared, release]

/** Everything that was handed out or waits comes to who opens again, once. */
export const verifyBoxes = async (world: World, boxes: Boxes): Promise<void> => {
  const came = new Set<string>()
  for (const name of boxes.names) {
    for (;;) {
      const delivered = await pop(world, boxes, name, 200)
      if (delivered.length === 0) break
      for (const { message, received } of delivered) {
        const body = message.body.toString()
        if (came.has(body)) fail(`${head(body)} came twice`)
        came.add(body)
        // Without an answer: from now on it is what it is.
        if (boxes.received.has(body)) boxes.received.set(body, received === true)
        if (!received) boxes.received.delete(body)
      }
    }
  }
  for (const body of boxes.accepted) if (came.has(body)) fail(`${head(body)} was accepted and came again`)
  for (const [body, place] of boxes.waiting)
    if (place >= world.start && !came.has(body)) fail(`${head(body)} is in no inbox of ${boxes.names} any more`)
  for (const body of [...boxes.received.keys()]) if (!came.has(body)) boxes.received.delete(body)
}

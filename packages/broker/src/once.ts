import { type CommandOf, type Context, Fault, type Once, type Replies, type Slot, type Stored } from '@sluice/core'
import type { Core } from './core.ts'
import { writeIncoming, writeOnce } from './events.ts'
import { inboxOf } from './inboxCommands.ts'
import { type AppendMore, moreOf, publishOne, refusal } from './publish.ts'
import type { Answer } from './state.ts'
import { topicOrNew } from './topicCommands.ts'

type Publish = CommandOf<'publish'>

const KEY_MAX = 1024
const KEEP_MAX = 7 * 24 * 3600 * 1000

/** Where the first answer is kept. */
export interface Memory {
  readonly known: Answer | undefined
  keep(answer: Answer): void
  forget(): void
  /** The event that makes the records before it count; undefined: it need not survive. */
  event(stored: readonly Stored[]): Buffer | undefined
}

const slotMemory = (core: Core, slot: Slot): Memory => {
  if (slot.way !== 'in') throw new Fault('invalid', 'a publish has a slot of the way in', { about: 'once' })
  const inbox = inboxOf(core, slot.inbox, slot.epoch)
  return {
    known: inbox.incoming.get(slot.slot),
    keep: (answer) => inbox.answered(slot.slot, answer),
    forget: () => void inbox.incoming.delete(slot.slot),
    event: (stored) => (inbox.persistent ? writeIncoming({ inbox: inbox.name, slot: slot.slot, stored }) : undefined),
  }
}

/** @throws Fault 'conflict' about 'epoch', 'invalid' or 'limit' about 'once' */
export const memoryOf = (core: Core, once: Once): Memory =>
  'key' in once ? keyMemory(core, once) : slotMemory(core, once)

const keyMemory = (core: Core, { key, keep }: { readonly key: string; readonly keep: number }): Memory => {
  const { state, clock } = core
  if (key === '' || key.length > KEY_MAX)
    throw new Fault('invalid', `a key has 1 to ${KEY_MAX} characters`, { about: 'once' })
  const now = clock.now()
  state.forgetKeys(now)
  const known = state.once.get(key)
  if (!known && state.once.size >= state.bounds.onceKeys)
    throw new Fault('limit', `${state.once.size} keys are remembered already`, { about: 'once' })
  const until = now + Math.min(keep, KEEP_MAX)
  return {
    known: known && known.until > now ? known : undefined,
    keep: (answer) => state.keep(key, until, answer),
    forget: () => void state.once.delete(key),
    event: (stored) => writeOnce({ key, until, stored }),
  }
}

/** No answer worth keeping: it ends the chain and means nothing. */
export const nothing = (): Buffer => writeOnce({ key: '', until: 0, stored: [] })

/**
 * A repeat gets the first answer and stores nothing. The messages and the answer are one chain in the log. A command of
 * which a message was refused is not remembered: it may be put right and sent again.
 * @throws Fault 'conflict' about 'epoch', 'invalid' or 'limit' about 'once'
 */
export const publishOnce = async (core: Core, command: Publish, context: Context): Promise<Replies['publish']> => {
  const { once } = command
  const memory = memoryOf(core, once!)
  if (memory.known) {
    await memory.known.durable
    return { stored: memory.known.stored }
  }
  const more: AppendMore = { ...moreOf(command, context), chained: true }
  let appended = false
  // Topics first: one made between two messages would end the chain.
  const stored = command.messages.map((message) => {
    try {
      if (!command.into || !('inbox' in command.into)) topicOrNew(core, message.topic)
      return undefined
    } catch (error) {
      return refusal(error)
    }
  }) as (Stored | Fault | undefined)[]
  command.messages.forEach((message, at) => {
    if (stored[at]) return
    try {
      stored[at] = publishOne(core, message, command.into, more)
      appended = true
    } catch (error) {
      if (appended) core.log.append(nothing())
      appended = false
      stored[at] = refusal(error)
    }
  })
  const all = stored.filter((one): one is Stored => one !== undefined && !Fault.is(one))
  const complete = all.length === stored.length
  if (appended) core.log.append((complete ? memory.event(all) : undefined) ?? nothing())
  if (!complete) {
    await core.log.done()
    return { stored: stored as (Stored | Fault)[] }
  }
  await keep(core, memory, all)
  return { stored: all }
}

/** The answer is there for a repeat at once, but not said before it is durable. */
export const keep = async (core: Core, memory: Memory, stored: readonly Stored[]): Promise<void> => {
  const durable = core.log.done()
  memory.keep({ stored, durable })
  try {
    await durable
  } catch (error) {
    memory.forget()
    throw error
  }
  memory.keep({ stored })
}

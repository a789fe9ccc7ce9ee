import {
  type Clock,
  type Context,
  Fault,
  type FaultCode,
  type Handle,
  type Interceptor,
  type Kind,
  type Wheel,
} from '@sluice/core'

/** Asking changes nothing: no answer means only that. Of all else nobody can say whether it was done. */
const asking: ReadonlySet<Kind> = new Set<Kind>(['read', 'queryOffset', 'topic', 'group', 'members', 'assign'])

/**
 * Every command is answered by its deadline, to within one tick of the wheel. A late reply is dropped, but messages
 * that a late pop took go back at once.
 */
export const deadline =
  (wheel: Wheel, clock: Clock): Interceptor =>
  (next) =>
  (command, context) =>
    new Promise((resolve, reject) => {
      let late = false
      const cancel = wheel.at(context.deadline, () => {
        late = true
        const code: FaultCode = asking.has(command.kind) ? 'unavailable' : 'outcomeUnknown'
        reject(new Fault(code, 'no answer in time'))
      })
      next(command, context).then(
        (reply) => {
          if (late) return giveBack(next, reply, { ...context, deadline: clock.now() + 5_000 })
          cancel()
          resolve(reply)
        },
        (error: unknown) => {
          cancel()
          reject(error)
        },
      )
    })

const giveBack = (next: Handle, reply: object, context: Context): void => {
  if (!('batch' in reply && 'more' in reply)) return
  const receipts = [...(reply.batch as Iterable<{ receipt?: never }>)].flatMap(({ receipt }) =>
    receipt ? [receipt] : [],
  )
  if (receipts.length === 0) return
  const settled = next({ kind: 'settle', receipts, outcome: { kind: 'retry', after: 0, counts: false } }, context)
  settled.catch(() => undefined) // then they come back at the end of their invisible time
}

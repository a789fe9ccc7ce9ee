import { type Command, Fault, type Interceptor, type Limits, type Session, waitOf } from '@sluice/core'
import type { Meter } from './measure.ts'

interface Load {
  inflight: number
  parked: number
}

/**
 * What one session may have under way over all its connections and streams. A parked poll is not work and has its own
 * bound; beyond either the command is refused as `busy`, certainly not done.
 */
export const bounds = (
  limits: Pick<Limits, 'sessionInflight' | 'parked'>,
  meter?: Pick<Meter, 'polls'>,
): Interceptor => {
  const loads = new WeakMap<Session, Load>()
  return (next) => (command, context) => {
    let load = loads.get(context.session)
    if (!load) loads.set(context.session, (load = { inflight: 0, parked: 0 }))
    const what: keyof Load = waitOf(command as Command) > 0 ? 'parked' : 'inflight'
    const most = what === 'parked' ? limits.parked : limits.sessionInflight
    if (load[what] >= most) {
      return Promise.reject(
        new Fault('busy', `over ${most} ${what} of one session`, { about: what, retryAfter: 1_000 }),
      )
    }
    const { protocol } = context.session
    load[what]++
    if (what === 'parked') meter?.polls(protocol, 1)
    const done = () => {
      load[what]--
      if (what === 'parked') meter?.polls(protocol, -1)
    }
    const reply = next(command, context)
    reply.then(done, done)
    return reply
  }
}

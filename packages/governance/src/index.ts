import { type Clock, type Interceptor, type Limits, onceATurn, type Router, type Wheel } from '@sluice/core'
import type { Meter } from './measure.ts'
import { route } from './route.ts'
import { type Tracer, trace } from './trace.ts'
import { underway } from './underway.ts'

export { SCRAM_SHA_256, type ScramKeys, scramKeys, verifyScram } from './access/scram.ts'
export type { Meter } from './measure.ts'
export { oneNode } from './route.ts'
export type { Span, Tracer } from './trace.ts'

export interface Governance {
  readonly tracer?: Tracer
  readonly meter?: Meter
  readonly limits: Limits
  readonly wheel: Wheel
  readonly clock: Clock
  readonly router: Router
  /** Names in and out. Absent: one tenant, names as they are. */
  readonly tenancy?: Interceptor
  /** Principal × topic or group × action. Absent: everything is allowed. */
  readonly authorize?: Interceptor
  /** Absent: no quota. */
  readonly quota?: Interceptor
  /** Keeps slow and failing nodes out. Absent: every node is light. */
  readonly darkRoom?: Interceptor
  /** Stops calls that fail anyway. Absent: always closed. */
  readonly breaker?: Interceptor
}

const pass: Interceptor = (next) => next

/**
 * The stages in their one order. It matters: a throttled command must not touch the dark room, a tenant's bad ACL must
 * not open a breaker, and a deadline covers everything that may wait.
 */
export const governance = (g: Governance): Interceptor[] => [
  trace(g.tracer),
  underway({
    meter: g.meter,
    limits: g.limits,
    wheel: g.wheel,
    clock: g.clock,
    now: onceATurn(() => performance.now()),
  }),
  g.tenancy ?? pass,
  g.authorize ?? pass,
  g.quota ?? pass,
  route(g.router),
  g.darkRoom ?? pass,
  g.breaker ?? pass,
]

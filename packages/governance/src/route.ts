import {
  type CommandOf,
  type Context,
  Fault,
  type Handle,
  type Interceptor,
  type Kind,
  type Plan,
  type ReplyTo,
  type Router,
} from '@sluice/core'

/** Which node gets the command. A plan that is there at once costs no wait. */
export const route =
  (router: Router): Interceptor =>
  (next) =>
  (command, context) => {
    const plan = router.plan(command, context)
    return plan instanceof Promise ? plan.then((later) => follow(next, later, context)) : follow(next, plan, context)
  }

const follow = <K extends Kind>(next: Handle, plan: Plan<K>, context: Context): Promise<ReplyTo<K>> => {
  const [part] = plan.parts
  if (!part) return Promise.reject(new Fault('unavailable', 'no node takes this'))
  if (plan.parts.length > 1) return Promise.reject(new Fault('unsupported', 'a command over several nodes'))
  return next<K>(part.command as CommandOf<K>, { ...context, node: part.node })
}

/** One node has everything. */
export const oneNode = (node: string): Router => ({
  plan: (command) => ({ parts: [{ node, command }], gather: 'only' }),
})

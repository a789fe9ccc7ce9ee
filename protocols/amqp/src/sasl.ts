import { Fault } from '@sluice/core'

export type Mechanism = 'ANONYMOUS' | 'PLAIN'

/** Who a client says it is. */
export interface Login {
  readonly mechanism?: string
  readonly user?: string
  readonly secret?: Buffer
}

/** What a mechanism's response says. A mechanism of several steps (SCRAM) would stand here with an exchange. */
export const mechanisms: Readonly<Record<Mechanism, (response: Buffer) => Login>> = {
  ANONYMOUS: () => ({ mechanism: 'ANONYMOUS' }),
  PLAIN: (response) => plain(response),
}

/**
 * [authzid] NUL authcid NUL password, UTF-8. Source: RFC 4616.
 * @throws Fault 'unauthenticated'
 */
const plain = (response: Buffer): Login => {
  const first = response.indexOf(0)
  const second = first < 0 ? -1 : response.indexOf(0, first + 1)
  if (second < 0) throw new Fault('unauthenticated', 'a PLAIN response without user and password')
  const actAs = response.toString('utf8', 0, first)
  const user = response.toString('utf8', first + 1, second)
  if (user === '') throw new Fault('unauthenticated', 'a PLAIN response without a user')
  if (actAs !== '' && actAs !== user) throw new Fault('unauthenticated', 'acting as another user is not possible')
  return { mechanism: 'PLAIN', user, secret: response.subarray(second + 1) }
}

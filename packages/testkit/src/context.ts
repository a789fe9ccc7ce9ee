import type { Context, Session } from '@sluice/core'

/** Somebody who may do everything and hears no notices. */
export const sessionOf = (id: string, client = id): Session => ({
  id,
  client,
  principal: { name: client, tenant: '', super: true },
  protocol: 'test',
  language: 'js',
  version: 1,
  remoteAddress: '127.0.0.1:5',
  localAddress: '127.0.0.1:6',
  notify: async () => undefined,
})

/** Of one command of this session, which may take as long as it likes. */
export const contextOf = (session: Session, more: Partial<Context> = {}): Context => ({
  session,
  principal: session.principal,
  deadline: Number.MAX_SAFE_INTEGER,
  ...more,
})

import type { Context } from '@sluice/core'

const principal = { name: 'b', tenant: '', super: true }

/** Of a load that asks a broker in its own process. */
export const context: Context = {
  session: {
    id: 'bench/1',
    client: 'bench',
    principal,
    protocol: 'bench',
    language: 'js',
    version: 1,
    remoteAddress: '127.0.0.1:1',
    localAddress: '127.0.0.1:2',
    notify: async () => undefined,
  },
  principal,
  deadline: Number.MAX_SAFE_INTEGER,
}

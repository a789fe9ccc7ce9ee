import type { Protocol } from '@sluice/core'
import type { AppOptions } from './app.ts'
import { detect } from './detect.ts'
import { HttpServer } from './server.ts'

export type HttpOptions = Partial<AppOptions>

/** REST, server-sent events, and WebSockets as a transport of other protocols. See docs/http.md. */
export default function http({ keepAliveMs = 72_000, headerBytes = 64 * 1024 }: HttpOptions = {}): Protocol {
  return {
    api: 1,
    name: 'http',
    detect,
    start: (gateway) => new HttpServer(gateway, { keepAliveMs, headerBytes }),
  }
}

export { http }

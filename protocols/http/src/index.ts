import { checkOptions, type OptionKinds, type Protocol } from '@sluice/core'
import type { AppOptions } from './app.ts'
import { detect } from './detect.ts'
import { HttpServer } from './server.ts'

export type HttpOptions = Partial<AppOptions>

const optionKinds: OptionKinds<HttpOptions> = {
  keepAliveMs: { kind: 'integer', min: 0, max: 86_400_000 },
  headerBytes: { kind: 'integer', min: 1_024, max: 16 * 1024 * 1024 },
}

/** REST, server-sent events, and WebSockets as a transport of other protocols. See docs/http.md. */
export default function http(options: HttpOptions = {}): Protocol {
  const { keepAliveMs = 72_000, headerBytes = 64 * 1024 } = checkOptions(options, optionKinds)
  return {
    api: 1,
    name: 'http',
    detect,
    start: (gateway) => new HttpServer(gateway, { keepAliveMs, headerBytes }),
  }
}

export { http }

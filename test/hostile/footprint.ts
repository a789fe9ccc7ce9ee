import { readdirSync } from 'node:fs'

/** What this process holds. */
export interface Footprint {
  readonly heapUsed: number
  readonly fds: number
  /** Active handles by kind. */
  readonly handles: Readonly<Record<string, number>>
}

const MIB = 1024 * 1024
/** Growth that is noise: compiled code, caches of strings. */
export const HEAP_SLACK = 4 * MIB

export const footprint = (): Footprint => {
  if (!globalThis.gc) throw new Error('needs --expose-gc')
  globalThis.gc()
  globalThis.gc()
  const handles: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
  return { heapUsed: process.memoryUsage().heapUsed, fds: readdirSync('/proc/self/fd').length, handles }
}

/** Kinds that stay when something leaks; timers of the moment come and go. */
const lasting = ['TCPSocketWrap', 'TCPServerWrap', 'TLSWrap', 'PipeWrap'] as const

/** What grew beyond noise; empty: nothing. */
export const growth = (before: Footprint, after: Footprint): readonly string[] => {
  const heap = after.heapUsed - before.heapUsed
  return [
    ...(heap > HEAP_SLACK ? [`heap by ${(heap / MIB).toFixed(1)} MiB`] : []),
    ...(after.fds > before.fds ? [`descriptors from ${before.fds} to ${after.fds}`] : []),
    ...lasting.flatMap((kind) => {
      const [was, is] = [before.handles[kind] ?? 0, after.handles[kind] ?? 0]
      return is > was ? [`${kind} from ${was} to ${is}`] : []
    }),
  ]
}

/** Sockets take a moment to close: what has grown and stays grown for so long. */
export const lastingGrowth = async (before: Footprint, withinMs = 10_000): Promise<readonly string[]> => {
  const end = Date.now() + withinMs
  for (;;) {
    const grown = growth(before, footprint())
    if (grown.length === 0 || Date.now() > end) return grown
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

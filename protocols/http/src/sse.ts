/** WHATWG HTML §9.2, server-sent events: how long a client waits before it comes back. */
export const RETRY = 'retry: 2000\n\n'
/** The last word of a drain: come back soon, elsewhere. */
export const RETRY_SOON = 'retry: 500\n\n'
export const COMMENT = ':\n\n'
export const COMMENT_MS = 15_000

/** `data` is one line: JSON. */
export const sseEvent = (event: string, data: string, id?: string): string =>
  `${id === undefined ? '' : `id: ${id.replace(/[\r\n\0]/g, '')}\n`}event: ${event}\ndata: ${data}\n\n`

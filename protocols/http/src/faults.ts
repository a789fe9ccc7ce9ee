import { STATUS_CODES } from 'node:http'
import { Fault, type FaultCode, type Ms } from '@sluice/core'

/** How a refusal is said: RFC 9457 `type` is `urn:sluice:fault:<code>`, `title` is fixed for the code. */
export interface Word {
  readonly status: number
  readonly title: string
  /** When a repeat is sensible, for faults that do not say so themselves. Rounded up to seconds in `Retry-After`. */
  readonly retryAfterMs?: Ms
}

/** Every fault of the core in HTTP's words. Sources: RFC 9110 §15.5–15.6, RFC 6585, docs/http.md "Errors". */
export const words = {
  malformed: { status: 400, title: 'The request could not be read' },
  tooLarge: { status: 413, title: 'The request is too large' },
  unsupported: { status: 501, title: 'Not supported here' },
  unauthenticated: { status: 401, title: 'Credentials are missing or wrong' },
  forbidden: { status: 403, title: 'Not allowed' },
  invalid: { status: 400, title: 'The request is not valid' },
  topicNotFound: { status: 404, title: 'No such topic' },
  groupNotFound: { status: 404, title: 'No such group' },
  receiptExpired: { status: 410, title: 'The receipt handle is not valid any more' },
  notFound: { status: 404, title: 'Not found' },
  conflict: { status: 409, title: 'In conflict with another client' },
  limit: { status: 429, title: 'A limit is reached', retryAfterMs: 1_000 },
  throttled: { status: 429, title: 'Over quota', retryAfterMs: 1_000 },
  busy: { status: 503, title: 'Overloaded', retryAfterMs: 1_000 },
  circuitOpen: { status: 503, title: 'Stopped calling a failing part', retryAfterMs: 5_000 },
  unavailable: { status: 503, title: 'No broker can be reached', retryAfterMs: 2_000 },
  draining: { status: 503, title: 'Leaving', retryAfterMs: 1_000 },
  outcomeUnknown: { status: 504, title: 'No answer in time: whether it was done is not known' },
  internal: { status: 500, title: 'Internal error' },
} as const satisfies Record<FaultCode, Word>

/** What only HTTP can get wrong. */
export const requestWords = {
  noRoute: { status: 404, title: 'Nothing at this address' },
  methodNotAllowed: { status: 405, title: 'Not with this method' },
  timeout: { status: 408, title: 'The request took too long to arrive' },
  uriTooLong: { status: 414, title: 'The address is too long' },
  mediaType: { status: 415, title: 'Not in this media type' },
  expectation: { status: 417, title: 'Unknown expectation' },
  headersTooLarge: { status: 431, title: 'The headers are too large' },
} as const satisfies Record<string, Word>

export type RequestCode = keyof typeof requestWords

/** A request that HTTP itself refuses, before anything of ours is asked. */
export class Refusal extends Error {
  readonly code: RequestCode
  readonly headers: Readonly<Record<string, string>>
  constructor(code: RequestCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = limit
    this.name = 'Refusal'
    this.code = code
    this.headers = headers
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** RFC 9457 with our own members. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail?: string
  readonly code: FaultCode | RequestCode
  readonly about?: string
  readonly requestId: string
  readonly retryAfterMs?: Ms
}

const wordOf = (trouble: Fault | Refusal): Word =>
  trouble instanceof Refusal ? requestWords[trouble.code] : words[trouble.code]

/** The part of a refusal that stands in a list of results as well as in a problem document. */
export const statusOf = (
  fault: Fault,
): { status: number; code: FaultCode; detail?: string; about?: string; retryAfterMs?: Ms } => {
  const word: Word = words[fault.code]
  const retryAfterMs = fault.retryAfter ?? word.retryAfterMs
  return {
    status: word.status,
    code: fault.code,
    // What went wrong inside is the log's matter.
    ...(fault.code !== 'internal' && { detail: fault.message }),
    ...(fault.about !== undefined && { about: fault.about }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

export const problemOf = (trouble: Fault | Refusal, requestId: string): Problem => {
  const { title, status } = wordOf(trouble)
  const rest = trouble instanceof Refusal ? { code: trouble.code, detail: trouble.message } : statusOf(trouble)
  return { type: `urn:sluice:fault:${trouble.code}`, title, ...rest, status, requestId }
}

const asProblem = (trouble: Fault | Refusal, requestId: string): Answer => {
  const problem = problemOf(trouble, requestId)
  return {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'x-request-id': requestId,
      ...(problem.retryAfterMs !== undefined && {
        'retry-after': String(Math.max(1, Math.ceil(problem.retryAfterMs / 1_000))),
      }),
      ...(problem.status === 401 && { 'www-authenticate': 'Basic realm="sluice", charset="UTF-8"' }),
      ...(trouble instanceof Refusal && trouble.headers),
    },
    body: JSON.stringify(problem),
  }
}

/** How a surface of this server says a refusal. */
export type Voice = (trouble: Fault | Refusal, requestId: string) => Answer

/** The surface below `/topics/` will speak XML; until it exists it speaks as the others do. */
const voices: readonly { readonly prefix: string; readonly voice: Voice }[] = [{ prefix: '/topics/', voice: asProblem }]

/** `target`: the request target as sent; undefined when it could not be read. */
export const answerTo = (trouble: Fault | Refusal, requestId: string, target: string | undefined): Answer => {
  const voice = voices.find(({ prefix }) => target?.startsWith(prefix))?.voice ?? asProblem
  return voice(trouble, requestId)
}

/** A whole response, for a request that never became one. */
export const rawAnswer = (trouble: Fault | Refusal, requestId: string): string => {
  const { status, headers, body } = answerTo(trouble, requestId, undefined)
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`
}

const fromFramework: Readonly<Record<string, (message: string) => Fault | Refusal>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new Fault('tooLarge', 'the body is too large', { about: 'body' }),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => new Refusal('mediaType', 'no such content type'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new Fault('malformed', 'the body is not as long as Content-Length says'),
  FST_ERR_BAD_URL: () => new Fault('malformed', 'the address is not well-formed'),
  HPE_HEADER_OVERFLOW: () => new Refusal('headersTooLarge', 'the headers are too large'),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: () => new Fault('tooLarge', 'chunk extensions are too large'),
  ERR_HTTP_REQUEST_TIMEOUT: () => new Refusal('timeout', 'the request did not arrive in time'),
}

/** What fastify, Node's parser or our own code threw. */
export const troubleFrom = (error: unknown): Fault | Refusal => {
  if (Fault.is(error) || error instanceof Refusal) return error
  const { code, statusCode, message } = (error ?? {}) as { code?: string; statusCode?: number; message?: string }
  const known = code === undefined ? undefined : fromFramework[code]
  if (known) return known(message ?? '')
  if (code?.startsWith('HPE_')) return new Fault('malformed', 'not a well-formed HTTP/1.1 request')
  if (statusCode === 414) return new Refusal('uriTooLong', 'the address is too long')
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new Fault('malformed', 'the request could not be read')
  }
  return Fault.from(error)
}

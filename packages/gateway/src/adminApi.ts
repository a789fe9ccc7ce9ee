import { version } from './version.ts'

const text = (description: string) => ({ description, content: { 'text/plain': { schema: { type: 'string' } } } })
const object = (description: string) => ({
  description,
  content: { 'application/json': { schema: { type: 'object' } } },
})
const problem = {
  description: 'RFC 9457',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}
const get = (summary: string, more: object = {}) => ({
  get: { summary, responses: { 200: object('As it is now.'), ...more, default: problem } },
})
const name = { name: 'topic', in: 'path', required: true, schema: { type: 'string' } }
const spec = {
  type: 'object',
  additionalProperties: false,
  properties: {
    queues: { type: 'integer', default: 4 },
    type: {
      enum: ['normal', 'fifo', 'delay', 'transaction', 'priority', 'lite', 'mixed'],
      default: 'mixed',
    },
  },
}

/** OpenAPI 3.1 of the admin port. */
export const openapi = {
  openapi: '3.1.0',
  info: { title: 'Sluice, admin port', version },
  paths: {
    '/livez': get('Whether the process lives; a drain does not end that.'),
    '/healthz': get('The same as /livez.'),
    '/startupz': get('Whether it has started.'),
    '/readyz': get('Whether a load balancer should send clients here.', { 503: object('It is leaving.') }),
    '/metrics': { get: { summary: 'Prometheus text format.', responses: { 200: text('All metrics.') } } },
    '/openapi.json': get('This page.'),
    '/v1/drain': {
      ...get('The phase.'),
      post: {
        summary: 'Leaves. Answers when every client is gone; asked again meanwhile, what is left is hurried.',
        responses: { 200: object('The verdict.'), default: problem },
      },
    },
    '/v1/topics': get('All topics.'),
    '/v1/topics/{topic}': {
      parameters: [name],
      ...get('One topic, with its queues.'),
      put: {
        summary: 'Makes or changes it.',
        requestBody: { content: { 'application/json': { schema: spec } } },
        responses: { 200: object('As it is now.'), default: problem },
      },
      delete: { summary: 'Deletes it and what is in it.', responses: { 200: object('Done.'), default: problem } },
    },
  },
  components: {
    schemas: {
      Problem: {
        type: 'object',
        required: ['type', 'title', 'status', 'detail', 'code'],
        properties: {
          type: { type: 'string', examples: ['urn:sluice:fault:topicNotFound'] },
          title: { type: 'string' },
          status: { type: 'integer' },
          detail: { type: 'string' },
          code: { type: 'string' },
        },
      },
    },
  },
} as const

import { BATCH, STRUCTURED } from './cloudevents.ts'
import { LISTED, methods, paths } from './paths.ts'
import type { Schema } from './schema.ts'
import {
  problemShape,
  publishShape,
  receivedShape,
  receiveShape,
  resultsShape,
  settleShapes,
  type settleVerbs,
  storedShape,
} from './shapes.ts'

type Json = Readonly<Record<string, unknown>>

const spelt = (path: string): string =>
  path
    .replaceAll('::', '\n')
    .replaceAll(/:(\w+)/g, '{$1}')
    .replaceAll('\n', ':')

const parametersOf = (path: string): readonly Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  }))

/** Requests have no other members than those of their schema. */
const strict = (schema: Schema): Json => {
  if (schema.type === 'array') return { ...schema, items: strict(schema.items) }
  if (schema.type !== 'object') return schema
  const properties = Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, strict(inner)] as const)
  return {
    ...schema,
    properties: Object.fromEntries(properties),
    additionalProperties: schema.additionalProperties ?? false,
  }
}

const json = (schema: Schema | Json): Json => ({ 'application/json': { schema } })
const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const problems: Json = {
  default: { description: 'refused', content: { 'application/problem+json': { schema: ref('Problem') } } },
}

const query = (name: string, schema: Json): Json => ({ name, in: 'query', required: false, schema })

const operations = (): Readonly<Record<keyof typeof paths, Json>> => {
  const settle = (verb: (typeof settleVerbs)[number]): Json => ({
    operationId: verb,
    requestBody: { required: true, content: json(strict(settleShapes[verb])) },
    responses: { 200: { description: 'each with its own status', content: json(ref('Results')) }, ...problems },
  })
  return {
    publish: {
      operationId: 'publish',
      description: 'Any other content type is one message as it is, with X-Mq-* or ce-* headers.',
      requestBody: {
        content: {
          '*/*': {},
          [LISTED]: { schema: strict(publishShape) },
          [STRUCTURED]: { schema: { type: 'object' } },
          [BATCH]: { schema: { type: 'array', items: { type: 'object' } } },
        },
      },
      responses: {
        201: { description: 'stored', content: json({ oneOf: [ref('Stored'), ref('Results')] }) },
        207: { description: 'some were not stored', content: json(ref('Results')) },
        ...problems,
      },
    },
    receive: {
      operationId: 'receive',
      requestBody: { content: json(strict(receiveShape)) },
      responses: {
        200: {
          description: 'none, or some',
          content: { ...json(ref('Received')), [BATCH]: { schema: { type: 'array' } } },
        },
        ...problems,
      },
    },
    ack: settle('ack'),
    nack: settle('nack'),
    extend: settle('extend'),
    dead: settle('dead'),
    stream: {
      operationId: 'stream',
      parameters: [
        query('ack', { type: 'string', enum: ['auto', 'manual'], default: 'auto' }),
        query('invisibleMs', { type: 'integer', default: 30_000 }),
        query('ordered', { type: 'boolean', default: false }),
        query('tag', { type: 'string' }),
        query('sql', { type: 'string' }),
      ],
      responses: { 200: { description: 'server-sent events', content: { 'text/event-stream': {} } }, ...problems },
    },
    openapi: {
      operationId: 'openapi',
      responses: { 200: { description: 'this document', content: { 'application/json': {} } } },
    },
  }
}

/** OpenAPI 3.1 of the native surface, made of the schemas that check its requests. */
export const openapi = (): Json => {
  const items: Record<string, Json> = {}
  for (const [name, operation] of Object.entries(operations()) as [keyof typeof paths, Json][]) {
    const path = spelt(paths[name])
    const parameters = [...parametersOf(path), ...((operation.parameters as Json[] | undefined) ?? [])]
    items[path] = { [methods[name].toLowerCase()]: { ...operation, parameters } }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Sluice over HTTP', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths: items,
    components: {
      schemas: { Stored: storedShape, Results: resultsShape, Received: receivedShape, Problem: problemShape },
      securitySchemes: { basic: { type: 'http', scheme: 'basic' }, bearer: { type: 'http', scheme: 'bearer' } },
    },
    security: [{}, { basic: [] }, { bearer: [] }],
  }
}

import { type Context, Fault } from '@sluice/core'
import { response } from '@sluice/remoting'
import type { Desk, Handler } from '../desk.ts'
import { integer, text, time } from '../fields.ts'
import { recallHandleIn } from '../recall.ts'
import { recordsOf } from '../records.ts'
import { nodeOf } from './settle.ts'

/** Messages and bytes of one query. */
const QUERY_MAX = 64
const QUERY_BYTES = 4 * 1024 * 1024

/** QUERY_MESSAGE (12): by a key, or by its unique id. 22 where there is none. */
export const queryMessage: Handler = async ({ ext }, context, { gateway, store }) => {
  const from = {
    by: 'key',
    topic: text(ext, 'topic'),
    key: text(ext, 'key'),
    unique: ext._UNIQUE_KEY_QUERY === 'true',
    after: time(ext, 'beginTimestamp'),
    before: time(ext, 'endTimestamp'),
  } as const
  const max = Math.min(Math.max(integer(ext, 'maxNum'), 1), QUERY_MAX)
  const { batch } = await gateway.handle({ kind: 'read', from, max, bytes: QUERY_BYTES, wait: 0 }, context)
  if (batch.count === 0) throw new Fault('notFound', 'no message has this key')
  const at = String(gateway.clock.now())
  return {
    code: response.success,
    ext: { indexLastUpdateTimestamp: at, indexLastUpdatePhyoffset: '0' },
    parts: recordsOf(batch, store, gateway),
  }
}

/** VIEW_MESSAGE_BY_ID (33): by its place. */
export const viewMessage: Handler = async ({ ext }, context, desk) => {
  const place = integer(ext, 'offset')
  const node = ext.topic ? await nodeOf(ext.topic, context, desk) : await onlyNode(context, desk)
  const from = { by: 'place', node, place } as const
  const { batch } = await desk.gateway.handle({ kind: 'read', from, max: 1, bytes: QUERY_BYTES, wait: 0 }, context)
  if (batch.count === 0) throw new Fault('notFound', 'no message stands there', { about: 'message' })
  return { code: response.success, parts: recordsOf(batch, desk.store, desk.gateway) }
}

/** Of a client that does not name a topic. */
const onlyNode = async (context: Context, { gateway }: Desk): Promise<string> => {
  const reply = await gateway.handle({ kind: 'admin', action: { do: 'nodes' } }, context)
  const { nodes } = reply as { nodes: readonly { readonly node: string }[] }
  const [only] = nodes
  if (!only || nodes.length > 1)
    throw new Fault('notFound', 'field topic is missing, and there are several nodes', { about: 'message' })
  return only.node
}

/** RECALL_MESSAGE (370). */
export const recall: Handler = async ({ ext }, context, { gateway }) => {
  const topic = text(ext, 'topic')
  const handle = recallHandleIn(text(ext, 'recallHandle'), topic)
  const { id } = await gateway.handle({ kind: 'recall', topic, handle }, context)
  return { code: response.success, ext: { msgId: id } }
}

import { type CommandOf, type Context, Fault, type Half } from '@sluice/core'
import { type Desk, done, type Handler } from '../desk.ts'
import { sendBackCodeOf } from '../faults.ts'
import { type Ext, integer, text } from '../fields.ts'
import { toSendBack } from '../translate.ts'

/** CONSUMER_SEND_MSG_BACK (36). */
export const sendBack: Handler = async (frame, context, desk) => {
  try {
    const node = await nodeOf(frame.ext.originTopic ?? '', context, desk)
    const { failed } = await desk.gateway.handle(toSendBack(frame, node), context)
    const [first] = failed
    if (first) throw first.fault
    return done
  } catch (error) {
    const fault = Fault.from(error)
    return { code: sendBackCodeOf(fault), remark: fault.message }
  }
}

/** The node of a message that is named by its place alone. Where a topic has several, its place does not tell yet. */
export const nodeOf = async (topic: string, context: Context, { topics }: Desk): Promise<string> => {
  const { info } = await topics.get(topic, context)
  const nodes = new Set(info.routes.map(({ queue }) => queue.node))
  const [node] = nodes
  if (node === undefined || nodes.size > 1)
    throw new Fault('notFound', 'the node of this message is not known', { about: 'message' })
  return node
}

const COMMIT = 8
const ROLLBACK = 12

/** END_TRANSACTION (37): the half message is named by what the send was answered with. */
export const endTransaction: Handler = async (frame, context, desk) => {
  const { ext } = frame
  const decision = integer(ext, 'commitOrRollback')
  const half = await halfOf(ext, context, desk)
  const command: CommandOf<'endTransaction'> = {
    kind: 'endTransaction',
    half,
    resolution: decision === COMMIT ? 'commit' : decision === ROLLBACK ? 'rollback' : 'unknown',
    byCheck: ext.fromTransactionCheck === 'true',
  }
  await desk.gateway.handle(command, context)
  if (command.resolution !== 'unknown') desk.halves.delete(half)
  return done
}

/** As it was told; else from what the request says, which is all but the topic with clients before 5.0. */
const halfOf = async (ext: Ext, context: Context, desk: Desk): Promise<Half> => {
  const group = text(ext, 'producerGroup')
  const place = integer(ext, 'commitLogOffset')
  const offset = integer(ext, 'tranStateTableOffset')
  const known = desk.halves.find(group, place)
  if (known) return known
  const topic = text(ext, 'topic')
  const node = await nodeOf(topic, context, desk)
  return { node, topic, group, id: ext.transactionId || text(ext, 'msgId'), place, offset }
}

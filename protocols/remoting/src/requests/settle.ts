import { type CommandOf, type Context, Fault } from '@sluice/core'
import { type Desk, done, type Handler } from '../desk.ts'
import { sendBackCodeOf } from '../faults.ts'
import { integer, text } from '../fields.ts'
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
const nodeOf = async (topic: string, context: Context, { topics }: Desk): Promise<string> => {
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
  const topic = text(ext, 'topic')
  const decision = integer(ext, 'commitOrRollback')
  const command: CommandOf<'endTransaction'> = {
    kind: 'endTransaction',
    half: {
      node: await nodeOf(topic, context, desk),
      topic,
      group: text(ext, 'producerGroup'),
      id: ext.transactionId ?? text(ext, 'msgId'),
      place: integer(ext, 'commitLogOffset'),
      offset: integer(ext, 'tranStateTableOffset'),
    },
    resolution: decision === COMMIT ? 'commit' : decision === ROLLBACK ? 'rollback' : 'unknown',
    byCheck: ext.fromTransactionCheck === 'true',
  }
  await desk.gateway.handle(command, context)
  return done
}

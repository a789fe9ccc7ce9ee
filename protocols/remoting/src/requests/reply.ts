import { type Context, Fault, type Stored } from '@sluice/core'
import { type Frame, PropertyView, response } from '@sluice/remoting'
import type { Answer, Desk, Handler } from '../desk.ts'
import { inboxOf } from '../replies.ts'
import { toSend } from '../translate.ts'

export const REPLY_TO = 'REPLY_TO_CLIENT'

/** SEND_REPLY_MESSAGE (324), _V2 (325): to the client that asked, wherever it is connected. */
export const sendReply: Handler = async (frame: Frame, context: Context, { gateway }: Desk): Promise<Answer> => {
  const { group, messages } = toSend(
    frame,
    { from: context.session.remoteAddress, at: gateway.clock.now() },
    gateway.limits,
  )
  const client = new PropertyView(messages[0]?.packed ?? none).get(REPLY_TO)
  if (client === undefined) throw new Fault('invalid', `property ${REPLY_TO} is missing`, { about: 'properties' })
  const into = { inbox: inboxOf(client) }
  const { stored } = await gateway.handle({ kind: 'publish', messages, group, oneway: false, into }, context)
  const bad = stored.find((one) => Fault.is(one))
  if (bad) throw toNobody(bad)
  const { id } = stored[0] as Stored
  const ext = {
    msgId: '0',
    queueId: '0',
    queueOffset: '0',
    transactionId: id,
    MSG_REGION: 'DefaultRegion',
    TRACE_ON: 'false',
  }
  return { code: response.success, ext }
}

const none = Buffer.alloc(0)

/** The one who asked is gone: no queue of theirs, for all a client could know. */
const toNobody = (fault: Stored | Fault): unknown =>
  Fault.is(fault) && fault.code === 'notFound'
    ? new Fault('notFound', 'the client that asked is not here', { about: 'message' })
    : fault

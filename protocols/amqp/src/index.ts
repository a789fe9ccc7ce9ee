import { checkOptions, frameProtocol, type Protocol } from '@sluice/core'
import { amqpCodec, detect, type Frame } from './codec.ts'
import { AmqpConversation } from './conversation.ts'
import { type AmqpOptions, optionKinds } from './host.ts'
import { PROTOCOL } from './translate.ts'

export type { AmqpOptions } from './host.ts'

/** AMQP 1.0, with or without SASL. Other versions of AMQP are told so and closed. */
export default function amqp(options: AmqpOptions = {}): Protocol {
  checkOptions(options, optionKinds)
  return frameProtocol<Frame>({
    name: PROTOCOL,
    detect,
    codec: amqpCodec,
    converse: (link, gateway) => new AmqpConversation(link, gateway, options),
  })
}
export { amqp }

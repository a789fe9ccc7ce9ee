import { frameProtocol, type Protocol } from '@sluice/core'
import { codec, type Line } from './codec.ts'
import { LineConversation } from './conversation.ts'

/** Publish and subscribe in lines of text: a whole protocol plugin. */
export default function lines(): Protocol {
  return frameProtocol<Line>({
    name: 'lines',
    detect: (head) => (head.length < 4 ? undefined : /^(PUB|SUB) /.test(head.toString('latin1', 0, 4))),
    codec,
    converse: (link, gateway) => new LineConversation(link, gateway),
  })
}
export { lines }

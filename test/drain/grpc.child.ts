/**
 * A client that asks for messages and does not read what it gets; says `asked`, and `got` at the first of it.
 *   node grpc.child.ts <port> <topic> <group>
 */
import net from 'node:net'
import { asking } from '../../protocols/grpc/test/harness.ts'
import { RawClient } from '../../protocols/grpc/test/raw.ts'

const [port, topic, group] = process.argv.slice(2) as [string, string, string]
const client = new RawClient(net.connect({ host: '127.0.0.1', port: Number(port), noDelay: true }), 'killed')
client.reads = false
client.onFrame = ({ type }) => {
  if (type !== 'DATA') return
  client.onFrame = undefined
  console.log('got')
}
client.ask('ReceiveMessage', asking(topic, group, { long_polling_timeout: { seconds: 20 } }), false)
setTimeout(() => console.log('asked'), 300)

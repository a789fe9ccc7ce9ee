import { once } from 'node:events'
import net from 'node:net'

/** The smallest load: one message there and back. The harness' own test runs it. */
const { port } = JSON.parse(process.argv[2] ?? '{}') as { port: number }
const socket = net.connect(port, '127.0.0.1')
await once(socket, 'connect')
const began = performance.now()
socket.write('x')
await once(socket, 'data')
socket.destroy()
console.log(JSON.stringify({ messages: 1, tookMs: performance.now() - began }))

import net from 'node:net'

/** A server that accepts and listens, and nothing else: what a socket alone costs in Node. */
const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('data', () => undefined)
  socket.on('error', () => undefined)
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(`ready ${(server.address() as net.AddressInfo).port}`)
})

import { createRequire } from 'node:module'
import net from 'node:net'

/** Aedes in memory, from the folder that is given: `aedes.ts FOLDER`. */
interface Broker {
  readonly handle: (socket: net.Socket) => void
}
interface Module {
  readonly Aedes: { createBroker(options: object): Promise<Broker> }
}

const { Aedes } = createRequire(`${process.argv[2]}/`)('aedes') as Module
const { handle } = await Aedes.createBroker({ concurrency: 1_000, queueLimit: 1_000 })
const server = net.createServer({ noDelay: true }, handle)
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(`ready ${(server.address() as net.AddressInfo).port}`)
})

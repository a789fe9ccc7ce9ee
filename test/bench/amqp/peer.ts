import rhea from 'rhea'

/** A sink and a relay in memory on rhea: what comes is accepted, and goes to the receiver of the connection, if any. */
const container = rhea.create_container({ id: 'peer' })
const CREDIT = 500
container.options.receiver_options = { credit_window: CREDIT }

interface Relay {
  readonly waiting: unknown[]
  out: rhea.Sender | undefined
}
const relays = new WeakMap<rhea.Connection, Relay>()
const relayOf = (connection: rhea.Connection): Relay => {
  let relay = relays.get(connection)
  if (!relay) relays.set(connection, (relay = { waiting: [], out: undefined }))
  return relay
}
const forward = ({ waiting, out }: Relay): void => {
  while (out?.sendable() && waiting.length > 0) out.send({ body: waiting.shift() })
}

container.on('sender_open', ({ sender, connection }: rhea.EventContext) => {
  if (sender) relayOf(connection).out = sender
})
container.on('sendable', ({ connection }: rhea.EventContext) => forward(relayOf(connection)))
container.on('message', ({ message, connection, receiver }: rhea.EventContext) => {
  if ((receiver?.target as { address?: string } | undefined)?.address === 'sink') return
  const relay = relayOf(connection)
  relay.waiting.push(message?.body)
  forward(relay)
})
for (const ended of ['disconnected', 'connection_error', 'error']) container.on(ended, () => undefined)

const server = container.listen({ host: '127.0.0.1', port: 0 })
server.on('listening', () => {
  const address = server.address()
  console.log(`ready ${typeof address === 'object' ? address?.port : address}`)
})

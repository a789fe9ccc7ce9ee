import { names } from '@sluice/core'
import rhea from 'rhea'
import { Inbox, type MatrixClient, type Target } from '../client.ts'
import type { Sample } from '../samples.ts'

const open = (target: Target, id: string) => {
  const container = rhea.create_container({ id })
  const connection = container.connect({
    host: target.host,
    port: target.port,
    reconnect: false,
    username: 'anonymous',
    ...(target.tls ? { transport: 'tls', rejectUnauthorized: false } : {}),
  } as rhea.ConnectionOptions)
  return { container, connection }
}

const once = (
  emitter: { once(event: string, listener: (context: rhea.EventContext) => void): unknown },
  event: string,
) =>
  new Promise<rhea.EventContext>((resolve) => {
    emitter.once(event, resolve)
  })

const message = (sample: Sample): rhea.Message => ({
  subject: sample.tag,
  content_type: CONTENT_TYPE,
  application_properties: { ...sample.properties, [names.keys]: sample.keys.join(' ') },
  body: rhea.message.data_section(sample.body),
})

const close = async (connection: rhea.Connection): Promise<void> => {
  const closed = once(connection, 'connection_close')
  connection.close()
  await closed
}

const CONTENT_TYPE = 'application/x-matrix'
let counter = 0

export const amqp: MatrixClient = {
  name: 'amqp',
  column: 'amqp',
  refusesEmpty: false,
  contentType: CONTENT_TYPE,
  keepsOrder: true,
  givesId: false,
  async producer(target, topic) {
    const { connection } = open(target, `matrix-producer-${++counter}`)
    const sender = connection.open_sender(topic)
    await once(sender, 'sendable')
    const sendAll = (messages: readonly rhea.Message[]): Promise<void> =>
      new Promise((resolve, reject) => {
        let sent = 0
        let accepted = 0
        const pour = () => {
          while (sent < messages.length && sender.sendable()) sender.send(messages[sent++]!)
        }
        const off = () => {
          sender.removeAllListeners('accepted')
          sender.removeAllListeners('rejected')
          sender.removeAllListeners('released')
          sender.removeAllListeners('sendable')
        }
        sender.on('accepted', () => {
          if (++accepted === messages.length) {
            off()
            resolve()
          } else pour()
        })
        const refused = (context: rhea.EventContext) => {
          off()
          reject(new Error(`not accepted: ${JSON.stringify(context.delivery?.remote_state)}`))
        }
        sender.on('rejected', refused)
        sender.on('released', refused)
        sender.on('sendable', pour)
        pour()
      })
    return {
      send: (samples) => sendAll(samples.map(message)),
      async sendEmpty() {
        await sendAll([{ body: rhea.message.data_section(Buffer.alloc(0)) }])
        return true
      },
      close: () => close(connection),
    }
  },
  async consumer(target, topic, group) {
    const { connection } = open(target, `matrix-${group}`)
    const inbox = new Inbox()
    const receiver = connection.open_receiver({
      source: `/topics/${topic}/groups/${group}`,
      credit_window: 100,
      autoaccept: true,
    })
    receiver.on('message', ({ message: got }: rhea.EventContext) => {
      const {
        [names.keys]: keys,
        [names.path]: full,
        [names.bornAt]: _at,
        [names.bornHost]: _host,
        ...properties
      } = (got?.application_properties ?? {}) as Record<string, string>
      inbox.push({
        body: bodyOf(got!),
        ...(got?.subject !== undefined && { tag: got.subject }),
        ...(keys !== undefined && { keys: keys.split(' ') }),
        ...(full !== undefined && { path: full.slice(topic.length + 1) }),
        ...(got?.content_type !== undefined && { contentType: String(got.content_type) }),
        properties,
        ...(got?.message_id !== undefined && { id: String(got.message_id) }),
        attempt: (got?.delivery_count ?? 0) + 1,
      })
    })
    await once(receiver, 'receiver_open')
    return { received: inbox.received, wait: (count, ms) => inbox.wait(count, ms), close: () => close(connection) }
  },
}

/** rhea hands a data section over as an object with its bytes. */
const bodyOf = (message: rhea.Message): Buffer => {
  const body = message.body as Buffer | { content: Buffer | Buffer[] }
  if (Buffer.isBuffer(body)) return body
  return Array.isArray(body.content) ? Buffer.concat(body.content) : body.content
}

import fastify from 'fastify'

/** The least that a JSON answer to a POST costs on fastify: it reads the body, and stores nothing. */
const app = fastify()
app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
let offset = 0
app.post('/v1/topics/:topic/messages', (_, reply) => {
  reply.code(201).send({ messageId: '7F00000100002A9F00000000000001C8', queueId: 0, offset: offset++ })
})
const address = await app.listen({ host: '127.0.0.1', port: 0 })
console.log(`ready ${new URL(address).port}`)

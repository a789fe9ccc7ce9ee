import * as grpc from '@grpc/grpc-js'

/** The least that a unary call costs on grpc-js: bytes are given back as they came, nothing is decoded. */
const bytes = (value: Buffer): Buffer => value
const server = new grpc.Server({ 'grpc.max_concurrent_streams': 1_024 })
server.addService(
  {
    SendMessage: {
      path: '/apache.rocketmq.v2.MessagingService/SendMessage',
      requestStream: false,
      responseStream: false,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  { SendMessage: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) => done(null, call.request) },
)
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  console.log(`ready ${port}`)
})

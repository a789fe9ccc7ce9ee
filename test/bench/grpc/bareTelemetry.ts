import * as grpc from '@grpc/grpc-js'

/** The least that a telemetry stream costs on grpc-js: what comes is given back, nothing is decoded or kept. */
const bytes = (value: Buffer): Buffer => value
const server = new grpc.Server({ 'grpc.enable_channelz': 0 })
server.addService(
  {
    Telemetry: {
      path: '/apache.rocketmq.v2.MessagingService/Telemetry',
      requestStream: true,
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  {
    Telemetry: (stream: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      stream.on('error', () => undefined)
      stream.on('data', (message) => stream.write(message))
      stream.on('end', () => stream.end())
    },
  },
)
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  console.log(`ready ${port}`)
})

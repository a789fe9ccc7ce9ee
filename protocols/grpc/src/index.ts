import { checkOptions, type Protocol } from '@sluice/core'
import { GrpcServer } from './server.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** RocketMQ's v2 service over gRPC, on HTTP/2 with prior knowledge. */
export const grpc = (options: object = {}): Protocol => {
  checkOptions(options, {})
  return {
    api: 1,
    name: 'grpc',
    detect(head) {
      const length = Math.min(head.length, PREFACE.length)
      if (!head.subarray(0, length).equals(PREFACE.subarray(0, length))) return false
      return length === PREFACE.length ? true : undefined
    },
    start: (gateway) => new GrpcServer(gateway),
  }
}

export default grpc

import { checkOptions, type Protocol } from '@sluice/core'
import { PREFACE } from './http2/frames.ts'
import { startServer } from './server.ts'

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
    start: startServer,
  }
}

export default grpc

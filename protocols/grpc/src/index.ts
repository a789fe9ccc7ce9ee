import { checkOptions, type Protocol } from '@sluice/core'
import { PREFACE } from './http2/frames.ts'
import { startServer } from './server.ts'

export interface GrpcOptions {
  /** Who speaks HTTP/2: a codec of ours, or the server of @grpc/grpc-js. What the latter cannot do: docs/grpc.md. */
  readonly transport?: 'frames' | 'grpc-js'
}

/** RocketMQ's v2 service over gRPC, on HTTP/2 with prior knowledge. */
export const grpc = (options: GrpcOptions = {}): Protocol => {
  const { transport = 'frames' } = checkOptions(options, { transport: { kind: 'choice', of: ['frames', 'grpc-js'] } })
  return {
    api: 1,
    name: 'grpc',
    detect(head) {
      const length = Math.min(head.length, PREFACE.length)
      if (!head.subarray(0, length).equals(PREFACE.subarray(0, length))) return false
      return length === PREFACE.length ? true : undefined
    },
    start: (gateway) => startServer(gateway, transport),
  }
}

export default grpc

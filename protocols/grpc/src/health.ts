import { type ServerUnaryCall, type ServerWritableStream, type sendUnaryData, status } from '@grpc/grpc-js'
import type { Exchange } from './exchange.ts'

interface HealthRequest {
  readonly service?: string
}

const services: ReadonlySet<string> = new Set(['', 'apache.rocketmq.v2.MessagingService'])

/** What a probe is told on this connection: it serves until it is asked to leave. */
const saidOf = (serving: boolean) => ({ status: serving ? 'SERVING' : 'NOT_SERVING' })

/** `grpc.health.v1.Health`. Nobody needs a name or a key to ask. */
export const health = (placeOf: (call: object) => { readonly serving: boolean; readonly exchange: Exchange }) => ({
  Check(call: ServerUnaryCall<HealthRequest, object>, done: sendUnaryData<object>): void {
    const { serving, exchange } = placeOf(call)
    exchange.taken()
    if (!services.has(call.request.service ?? '')) done({ code: status.NOT_FOUND, details: 'unknown service' })
    else done(null, saidOf(serving))
  },
  List(call: ServerUnaryCall<object, object>, done: sendUnaryData<object>): void {
    const { serving, exchange } = placeOf(call)
    exchange.taken()
    done(null, { statuses: Object.fromEntries([...services].map((name) => [name, saidOf(serving)])) })
  },
  /** Says it now and when it changes, which is once, before the stream ends with its connection. */
  Watch(call: ServerWritableStream<HealthRequest, object>): void {
    const { serving, exchange } = placeOf(call)
    const known = services.has(call.request.service ?? '')
    exchange.taken()
    exchange.finish = () => call.end()
    exchange.leave = () => known && call.write(saidOf(false))
    call.on('error', () => undefined)
    call.write(known ? saidOf(serving) : { status: 'SERVICE_UNKNOWN' })
  },
})

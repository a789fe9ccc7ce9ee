import type { Exchange } from './exchange.ts'
import { grpcStatus } from './method.ts'

interface HealthRequest {
  readonly service?: string
}

const services: ReadonlySet<string> = new Set(['', 'apache.rocketmq.v2.MessagingService'])

/** What a probe is told on this connection: it serves until it is asked to leave. */
const said = (serving: boolean) => ({ status: serving ? 'SERVING' : 'NOT_SERVING' })
const saidOf = ({ place }: Exchange) => said(place.state === 'serving')

/** `grpc.health.v1.Health`. Nobody needs a name or a key to ask. */
export const health = {
  Check(exchange: Exchange, { service = '' }: HealthRequest): void {
    if (!services.has(service)) return exchange.refuse(grpcStatus.NOT_FOUND, 'unknown service')
    exchange.reply(saidOf(exchange))
  },
  List(exchange: Exchange): void {
    exchange.reply({ statuses: Object.fromEntries([...services].map((name) => [name, saidOf(exchange)])) })
  },
  /** Says it now and when it changes, which is once, before the stream ends with its connection. */
  Watch(exchange: Exchange, { service = '' }: HealthRequest): void {
    const known = services.has(service)
    exchange.finish = () => exchange.end()
    exchange.leave = () => known && exchange.write(said(false))
    exchange.write(known ? saidOf(exchange) : { status: 'SERVICE_UNKNOWN' })
  },
}

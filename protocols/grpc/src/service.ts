import {
  type Asker,
  type Hall,
  heartbeat,
  notifyClientTermination,
  type Poll,
  queryAssignment,
  queryRoute,
  type Unary,
} from './calls.ts'
import { credentialsOf } from './credentials.ts'
import { descriptor } from './descriptor.ts'
import type { Exchange } from './exchange.ts'
import { health } from './health.ts'
import { syncLiteSubscription } from './lite.ts'
import { grpcStatus, type Method, type Methods } from './method.ts'
import { getOffset, pullMessage, queryOffset, updateOffset } from './offsets.ts'
import { read } from './protobuf/read.ts'
import { type Description, type MethodType, Schema } from './protobuf/schema.ts'
import { write } from './protobuf/write.ts'
import { receiveMessage } from './receive.ts'
import { reflection } from './reflection.ts'
import { endTransaction, recallMessage, sendMessage } from './sending.ts'
import { ackMessage, changeInvisibleDuration, forwardToDeadLetter } from './settling.ts'
import { telemetry } from './telemetry.ts'

const SERVICE = 'apache.rocketmq.v2.MessagingService'
const HEALTH = 'grpc.health.v1.Health'
const REFLECTION = 'grpc.reflection.v1.ServerReflection'
/** The name before it was stable: older tools ask it first. */
const REFLECTION_ALPHA = 'grpc.reflection.v1alpha.ServerReflection'
const services = [SERVICE, HEALTH, REFLECTION, REFLECTION_ALPHA]

type Serve = Method['serve']
type Behaviour = Pick<Method, 'serve' | 'lasting'>

export const methodsOf = (hall: Hall): Methods => {
  const schema = new Schema(descriptor as Description)
  const methods = new Map<string, Method>()
  const serve = (service: string, behaviours: Readonly<Record<string, Behaviour>>, as = service) => {
    for (const method of schema.service(service)) {
      methods.set(`/${as}/${method.name}`, { ...codecOf(method), ...behaviours[method.name]! })
    }
  }
  serve(SERVICE, messaging(hall))
  serve(HEALTH, { Check: brief(health.Check), List: brief(health.List), Watch: lasting(health.Watch) })
  const tools = { ServerReflectionInfo: lasting((exchange) => void reflection(exchange, services)) }
  serve(REFLECTION, tools)
  serve(REFLECTION, tools, REFLECTION_ALPHA)
  return (path) => methods.get(path) ?? nothing
}

/** All that is served. */
export const paths = (): readonly string[] => {
  const schema = new Schema(descriptor as Description)
  return services.flatMap((service) =>
    schema.service(service === REFLECTION_ALPHA ? REFLECTION : service).map(({ name }) => `/${service}/${name}`),
  )
}

/** What a path names that is not served. */
const nothing: Method = {
  lasting: false,
  reads: true,
  decode: () => ({}),
  encode: () => Buffer.alloc(0),
  serve: (exchange) =>
    exchange.refuse(grpcStatus.UNIMPLEMENTED, `no method ${exchange.header(':path')?.slice(0, 128)}`),
}

const codecOf = ({ reads, request, response }: MethodType): Pick<Method, 'reads' | 'decode' | 'encode'> => ({
  reads,
  decode: (bytes) => read(request, bytes),
  encode: (message) => write(response, message),
})

const brief = (serve: Serve): Behaviour => ({ lasting: false, serve })
const lasting = (serve: Serve): Behaviour => ({ lasting: true, serve })

const messaging = (hall: Hall): Readonly<Record<string, Behaviour>> => {
  const unary = <Request>(answer: Unary<Request>) =>
    brief((exchange, request) => void serveUnary(answer, exchange, request as Request, hall))
  const poll = <Request>(answer: Poll<Request>) =>
    brief((exchange, request) => void servePoll(answer, exchange, request as Request, hall))
  return {
    QueryRoute: unary(queryRoute),
    QueryAssignment: unary(queryAssignment),
    Heartbeat: unary(heartbeat),
    NotifyClientTermination: unary(notifyClientTermination),
    SendMessage: unary(sendMessage),
    EndTransaction: unary(endTransaction),
    RecallMessage: unary(recallMessage),
    AckMessage: unary(ackMessage),
    ChangeInvisibleDuration: unary(changeInvisibleDuration),
    ForwardMessageToDeadLetterQueue: unary(forwardToDeadLetter),
    UpdateOffset: unary(updateOffset),
    GetOffset: unary(getOffset),
    QueryOffset: unary(queryOffset),
    SyncLiteSubscription: unary(syncLiteSubscription),
    ReceiveMessage: poll(receiveMessage),
    PullMessage: poll(pullMessage),
    Telemetry: lasting((exchange) => void telemetry(exchange, () => askerOf(exchange, hall), hall)),
  }
}

/** At most `limits.inflight` calls of a connection at once. One that nobody waits for any more is not begun. */
const serveUnary = async <Request>(answer: Unary<Request>, exchange: Exchange, request: Request, hall: Hall) => {
  const { gate } = exchange.place
  const turn = gate.enter()
  if (turn) await turn
  exchange.taken()
  let response: object
  try {
    if (exchange.over) return
    response = await answer(request, await askerOf(exchange, hall), hall)
  } catch (error) {
    response = { status: hall.refuse(error) }
  } finally {
    gate.leave()
  }
  exchange.reply(response)
  if (!exchange.over) exchange.stalledSince = hall.gateway.clock.now()
}

const servePoll = async <Request>(answer: Poll<Request>, exchange: Exchange, request: Request, hall: Hall) => {
  exchange.taken()
  try {
    await answer(request, await askerOf(exchange, hall), hall)
  } catch (error) {
    exchange.write({ status: hall.refuse(error) })
    exchange.end()
  }
}

/** @throws Fault 'malformed', 'unauthenticated', 'limit' */
const askerOf = async (exchange: Exchange, { gateway, clients }: Hall): Promise<Asker> => {
  const { place, deadline } = exchange
  const who = credentialsOf((name) => exchange.header(name), place.peer)
  const authenticated = gateway.authenticate(who)
  const principal = authenticated instanceof Promise ? await authenticated : authenticated
  const known = clients.of(who, principal, place)
  const client = known instanceof Promise ? await known : known
  return {
    client,
    principal,
    exchange,
    address: place.peer.address,
    left: deadline - gateway.clock.now(),
    told: place.state !== 'serving',
  }
}

import type { Described, MapValue, Value } from './types/values.ts'

/**
 * Every composite type of AMQP 1.0, of frames and of message sections: code of its descriptor (`00000000:000000xx`) and its fields in
 * order; `!` = mandatory. On the wire a described list, whose tail of absent fields may be left out.
 * Source: AMQP 1.0 parts 2 (transport), 3.2, 3.4 and 3.5 (messaging), 4.5 (transactions), 5.3 (SASL).
 */
export const shapes = {
  open: [
    0x10,
    {
      containerId: 'string!',
      hostname: 'string',
      maxFrameSize: 'uint',
      channelMax: 'ushort',
      idleTimeOut: 'uint',
      outgoingLocales: 'symbols',
      incomingLocales: 'symbols',
      offeredCapabilities: 'symbols',
      desiredCapabilities: 'symbols',
      properties: 'map',
    },
  ],
  begin: [
    0x11,
    {
      remoteChannel: 'ushort',
      nextOutgoingId: 'uint!',
      incomingWindow: 'uint!',
      outgoingWindow: 'uint!',
      handleMax: 'uint',
      offeredCapabilities: 'symbols',
      desiredCapabilities: 'symbols',
      properties: 'map',
    },
  ],
  attach: [
    0x12,
    {
      name: 'string!',
      handle: 'uint!',
      role: 'boolean!',
      sndSettleMode: 'ubyte',
      rcvSettleMode: 'ubyte',
      source: 'composite',
      target: 'composite',
      unsettled: 'map',
      incompleteUnsettled: 'boolean',
      initialDeliveryCount: 'uint',
      maxMessageSize: 'ulong',
      offeredCapabilities: 'symbols',
      desiredCapabilities: 'symbols',
      properties: 'map',
    },
  ],
  flow: [
    0x13,
    {
      nextIncomingId: 'uint',
      incomingWindow: 'uint!',
      nextOutgoingId: 'uint!',
      outgoingWindow: 'uint!',
      handle: 'uint',
      deliveryCount: 'uint',
      linkCredit: 'uint',
      available: 'uint',
      drain: 'boolean',
      echo: 'boolean',
      properties: 'map',
    },
  ],
  transfer: [
    0x14,
    {
      handle: 'uint!',
      deliveryId: 'uint',
      deliveryTag: 'binary',
      messageFormat: 'uint',
      settled: 'boolean',
      more: 'boolean',
      rcvSettleMode: 'ubyte',
      state: 'composite',
      resume: 'boolean',
      aborted: 'boolean',
      batchable: 'boolean',
    },
  ],
  disposition: [
    0x15,
    {
      role: 'boolean!',
      first: 'uint!',
      last: 'uint',
      settled: 'boolean',
      state: 'composite',
      batchable: 'boolean',
    },
  ],
  detach: [0x16, { handle: 'uint!', closed: 'boolean', error: 'composite' }],
  end: [0x17, { error: 'composite' }],
  close: [0x18, { error: 'composite' }],
  error: [0x1d, { condition: 'symbol!', description: 'string', info: 'map' }],
  received: [0x23, { sectionNumber: 'uint!', sectionOffset: 'ulong!' }],
  accepted: [0x24, {}],
  rejected: [0x25, { error: 'composite' }],
  released: [0x26, {}],
  modified: [0x27, { deliveryFailed: 'boolean', undeliverableHere: 'boolean', messageAnnotations: 'map' }],
  source: [
    0x28,
    {
      address: 'any',
      durable: 'uint',
      expiryPolicy: 'symbol',
      timeout: 'uint',
      dynamic: 'boolean',
      dynamicNodeProperties: 'map',
      distributionMode: 'symbol',
      filter: 'map',
      defaultOutcome: 'composite',
      outcomes: 'symbols',
      capabilities: 'symbols',
    },
  ],
  target: [
    0x29,
    {
      address: 'any',
      durable: 'uint',
      expiryPolicy: 'symbol',
      timeout: 'uint',
      dynamic: 'boolean',
      dynamicNodeProperties: 'map',
      capabilities: 'symbols',
    },
  ],
  coordinator: [0x30, { capabilities: 'symbols' }],
  declare: [0x31, { globalId: 'any' }],
  discharge: [0x32, { txnId: 'binary!', fail: 'boolean' }],
  declared: [0x33, { txnId: 'binary!' }],
  transactionalState: [0x34, { txnId: 'binary!', outcome: 'composite' }],
  header: [
    0x70,
    { durable: 'boolean', priority: 'ubyte', ttl: 'uint', firstAcquirer: 'boolean', deliveryCount: 'uint' },
  ],
  properties: [
    0x73,
    {
      messageId: 'any',
      userId: 'binary',
      to: 'any',
      subject: 'string',
      replyTo: 'any',
      correlationId: 'any',
      contentType: 'symbol',
      contentEncoding: 'symbol',
      absoluteExpiryTime: 'timestamp',
      creationTime: 'timestamp',
      groupId: 'string',
      groupSequence: 'uint',
      replyToGroupId: 'string',
    },
  ],
  saslMechanisms: [0x40, { saslServerMechanisms: 'symbols' }],
  saslInit: [0x41, { mechanism: 'symbol!', initialResponse: 'binary', hostname: 'string' }],
  saslChallenge: [0x42, { challenge: 'binary!' }],
  saslResponse: [0x43, { response: 'binary!' }],
  saslOutcome: [0x44, { code: 'ubyte!', additionalData: 'binary' }],
} as const

export interface FieldTypes {
  string: string
  symbol: string
  /** A symbol array; one alone may stand for a list of one. */
  symbols: readonly string[]
  boolean: boolean
  ubyte: number
  ushort: number
  uint: number
  ulong: number | bigint
  timestamp: number | bigint
  binary: Buffer
  map: MapValue
  any: Value
  /** Another type of this table; a described value that is none stays as it came. */
  composite: Composite | Described
}
export type FieldKind = keyof FieldTypes
type Shapes = typeof shapes
export type CompositeName = keyof Shapes
type Kind<F> = F extends `${infer K extends FieldKind}!` ? K : F extends FieldKind ? F : never
type Fields<F> = {
  readonly [N in keyof F as F[N] extends `${string}!` ? N : never]: FieldTypes[Kind<F[N]>]
} & { readonly [N in keyof F as F[N] extends `${string}!` ? never : N]?: FieldTypes[Kind<F[N]>] | undefined }

/** A composite type by name: `{ type: 'begin', nextOutgoingId: 0, … }`. Absent fields are undefined. */
export type CompositeOf<N extends CompositeName> = N extends CompositeName
  ? { readonly type: N } & Fields<Shapes[N][1]>
  : never
export type Composite = CompositeOf<CompositeName>

export type Performative = CompositeOf<
  'open' | 'begin' | 'attach' | 'flow' | 'transfer' | 'disposition' | 'detach' | 'end' | 'close'
>
export type SaslPerformative = CompositeOf<
  'saslMechanisms' | 'saslInit' | 'saslChallenge' | 'saslResponse' | 'saslOutcome'
>
export type AmqpError = CompositeOf<'error'>

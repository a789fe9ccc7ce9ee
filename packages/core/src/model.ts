/**
 * The one internal command model. Everything left of it belongs to a protocol, everything right of it knows none.
 * Commands and replies are plain data; failure is a thrown {@link Fault}.
 */

export type EpochMs = number
export type Ms = number
export type Offset = number // codecs reject > 2^53 - 1; read as hi * 2^32 + lo, never through BigInt

/** One queue on one broker node. `node` is the broker's name; `index` -1 means any queue of the node. */
export interface Queue {
  readonly topic: string
  readonly node: string
  readonly index: number
}

/** What a topic accepts. Derived for a message: half > deliverAt > group > priority > path in a lite topic > normal. */
export type TopicType = 'normal' | 'fifo' | 'delay' | 'transaction' | 'priority' | 'lite' | 'mixed'

/** Every field but the first three is optional and independent: AMQP sends priority, group-id and delay together. */
export interface Message {
  readonly topic: string
  readonly body: Buffer // as the producer sent it; never copied between decode and store
  readonly properties: Readonly<Record<string, string>> // user properties only; may be a getter that parses on first use
  readonly id?: string // the client's id (UNIQ_KEY, gRPC message_id); minted at the edge when absent
  readonly path?: string // below the topic: MQTT levels after the first, gRPC lite topic
  readonly tag?: string
  readonly keys?: readonly string[]
  readonly group?: string // FIFO: same group, same queue, one at a time (__SHARDINGKEY)
  readonly priority?: number // 0 lowest
  readonly deliverAt?: EpochMs
  readonly expiresAt?: EpochMs // MQTT message expiry, AMQP ttl
  readonly half?: { readonly checkAfter?: Ms } // transaction half message
  readonly encoding?: 'zlib' | 'lz4' | 'zstd' | 'gzip' // of body, kept as sent; edges that cannot say so inflate
  readonly contentType?: string
  readonly correlationId?: string
  readonly replyTo?: string // a topic/path, or an inbox as '%INBOX%name'
  readonly retain?: boolean
  readonly bornAt?: EpochMs
  readonly bornHost?: string
  readonly traceparent?: string
  /** The protocol it was published by, as its plugin names itself; absent: a RocketMQ client's own record. */
  readonly via?: string
  /** What only the producer's protocol understands (AMQP sections and types, order and repeats of MQTT user properties).
   *  The same protocol restores from it; every other ignores it. Counted as a loss only where it is dropped. */
  readonly original?: { readonly protocol: string; readonly bytes: Buffer }
  /** RocketMQ property string as received, so that remoting → broker neither splits nor joins it. Authoritative when present. */
  readonly packed?: Buffer
}

/** A view with lazy getters over one RocketMQ record. */
export interface StoredMessage extends Message {
  readonly id: string
  readonly queue: Queue
  readonly offset: Offset
  readonly place: Offset // physical offset: send-back, dead-letter, offsetMsgId
  readonly storedAt: EpochMs
  readonly bornAt: EpochMs
  readonly bornHost: string
  readonly record?: Buffer // the record itself, for edges that speak it
}

/** RocketMQ's pop check-point as numbers: nothing else is needed to settle, alone or in a batch, at our broker or a real one.
 *  poppedAt 0: pulled, never leased (remoting send-back): only retry and dead apply. */
export interface Lease {
  readonly of: 'group'
  readonly node: string
  readonly topic: string
  readonly group: string
  readonly queue: number
  readonly offset: Offset
  readonly place: Offset
  readonly first: Offset
  readonly poppedAt: EpochMs
  readonly invisible: Ms
  readonly revive: number
  readonly retry: 0 | 1 | 2
  readonly attempt: number
}
/** A numbered place in an inbox. The number is the MQTT packet id / AMQP delivery id; the broker gives it out for deliveries
 *  (`way: 'out'`), the client for its QoS 2 publishes (`way: 'in'`). `epoch` fences a client that was taken over. */
export interface Slot {
  readonly of: 'inbox'
  readonly node: string
  readonly inbox: string
  readonly epoch: number
  readonly way: 'out' | 'in'
  readonly slot: number
}
export type Receipt = Lease | Slot

/** A half message, self-contained: transaction_id of gRPC, ReceiptHandle of ApsaraMQ HTTP, header of remoting 37. */
export interface Half {
  readonly node: string
  readonly topic: string
  readonly group: string
  readonly id: string
  readonly place: Offset
  readonly offset: Offset
}

export interface Delivered {
  readonly message: StoredMessage
  readonly attempt: number // 1 at first
  readonly receipt?: Receipt // absent: read, or settled on delivery
  readonly half?: Half // popped from halves
  readonly received?: true // the client has it already (outcome 'received'): only the last word is missing
  readonly retained?: true // from the retained store, not live
  readonly notes?: readonly string[] // of the bindings that matched (MQTT: qos, rap, subscription id)
}

/** Messages as they came from the store: iterate to look, take `bytes` to pass on. Nothing is decoded until looked at. */
export interface Batch extends Iterable<Delivered> {
  readonly count: number
  readonly bytes: readonly Buffer[] | undefined // consecutive records, when the backend has them so
}

export type Source =
  | {
      readonly kind: 'group'
      readonly topic: string
      readonly group: string
      readonly filter?: Filter
      readonly queue?: Queue
    }
  | { readonly kind: 'inbox'; readonly inbox: string; readonly epoch: number }
  | { readonly kind: 'halves'; readonly topic: string; readonly group: string } // transactions of this producer group that want a decision

export interface Filter {
  readonly kind: 'tag' | 'sql92'
  readonly expression: string
}

/** Where to begin where nobody has begun. */
export type Start =
  | 'min'
  | 'max'
  | { readonly offset: Offset }
  | { readonly last: number }
  | { readonly time: EpochMs; readonly edge?: 'lower' | 'upper' }

export interface Binding {
  readonly pattern: string // topic/path with + and #
  readonly share?: string // every inbox with the same (share, pattern) draws from one place; it outlives them
  readonly filter?: Filter // AMQP selector
  readonly noLocal?: boolean
  readonly retained: 'send' | 'ifNew' | 'skip'
  readonly from?: Start // absent: from now on
  readonly note?: string // opaque, comes back in Delivered.notes
}

export type Outcome =
  | { readonly kind: 'accept' }
  | { readonly kind: 'received' } // slots only: content done, keep the number until accept (PUBREC; AMQP second)
  /** nack, delayed nack, extend: one thing. No `after`: the group's back-off. `counts: false`: same attempt number again. */
  | { readonly kind: 'retry'; readonly after?: Ms; readonly counts: boolean; readonly limit?: number }
  | { readonly kind: 'dead'; readonly reason?: string }

/** Exactly once: a repeat gets the first answer. A slot is freed by accepting it; a key after `keep`. */
export type Once = Slot | { readonly key: string; readonly keep: Ms }

// ── Commands ──────────────────────────────────────────────────────────────────────────────────
export type Command =
  | {
      kind: 'publish'
      messages: readonly Message[]
      group?: string
      oneway: boolean
      into?: Queue | { inbox: string } // a chosen queue; or one inbox alone: replies, p2p, dynamic nodes
      once?: Once
      accepts?: readonly Receipt[]
    } // settled in the same write (AMQP transactions): atomic on one node
  | { kind: 'endTransaction'; half: Half; resolution: 'commit' | 'rollback' | 'unknown'; byCheck: boolean }
  | { kind: 'recall'; topic: string; handle: string }
  | { kind: 'read'; from: ReadFrom; max: number; bytes: number; wait: Ms; filter?: Filter; commit?: Offset }
  | { kind: 'pop'; source: Source; max: number; invisible: Ms | 'session'; wait: Ms; fifo: boolean; attemptId?: string }
  | { kind: 'settle'; receipts: readonly Receipt[]; outcome: Outcome }
  | { kind: 'commitOffset'; queue: Queue; group: string; offset: Offset }
  | { kind: 'queryOffset'; queue: Queue; at: Start | { group: string } }
  | { kind: 'open'; inbox: string; fresh: boolean; expiry: Ms; will?: { message: Message; after: Ms } }
  | { kind: 'heartbeat'; member: Membership }
  | {
      kind: 'leave'
      what: { group: string } | { inbox: string; epoch: number; expiry?: Ms; will: 'drop' | 'fire' | 'keep' } | 'all'
    }
  | {
      kind: 'bind'
      inbox: string
      epoch: number
      add: readonly Binding[]
      remove: readonly { pattern: string; share?: string }[] | 'others'
    } // 'others': `add` is the whole set
  | { kind: 'topic'; topic: string }
  | { kind: 'group'; group: string; progress?: { topic?: string } }
  | { kind: 'assign'; topic: string; group: string; strategy: string; model: 'cluster' | 'broadcast' }
  | { kind: 'members'; group?: string }
  | { kind: 'lock'; group: string; queues: readonly Queue[]; hold: boolean }
  | { kind: 'admin'; action: AdminAction }

/** Reading takes nothing: pull, browse, peek, view by id, query by key. */
export type ReadFrom =
  | { readonly by: 'offset'; readonly queue: Queue; readonly offset: Offset; readonly group?: string } // group: its registered filter applies when none is given
  | { readonly by: 'source'; readonly source: Source } // browse what a pop would give
  | { readonly by: 'place'; readonly node: string; readonly place: Offset } // view by offsetMsgId
  | {
      readonly by: 'key'
      readonly topic: string
      readonly key: string
      readonly unique: boolean
      readonly after: EpochMs
      readonly before: EpochMs
    }

export type Kind = Command['kind']
export type CommandOf<K extends Kind> = Extract<Command, { kind: K }>

export interface Membership {
  readonly produces: readonly string[]
  readonly consumes: readonly {
    readonly group: string
    readonly mode: 'push' | 'pull' | 'pop'
    readonly model: 'cluster' | 'broadcast'
    readonly from: Start
    readonly topics: readonly { readonly topic: string; readonly filter?: Filter; readonly version: number }[]
  }[]
}
export interface Member {
  readonly client: string
  readonly session: string
  readonly protocol: string
  readonly language: string
  readonly version: number
  readonly address: string
  readonly seenAt: EpochMs
  readonly member: Membership
}
export interface TopicSpec {
  readonly topic: string
  readonly queues: number
  readonly type: TopicType
  readonly retain?: { readonly ms?: Ms; readonly bytes?: number }
  readonly attributes?: Readonly<Record<string, string>>
}
export interface GroupSpec {
  readonly group: string
  readonly fifo: boolean
  readonly maxAttempts: number
  readonly backoff: readonly Ms[] | { readonly initial: Ms; readonly max: Ms; readonly times: number }
  readonly lite?: { readonly topic: string; readonly quota: number; readonly exclusive: boolean }
  readonly modes?: Readonly<Record<string, { readonly mode: 'pull' | 'pop'; readonly share: number }>>
}
export interface TopicInfo extends TopicSpec {
  readonly routes: readonly {
    readonly queue: Queue
    readonly number: number
    readonly readable: boolean
    readonly writable: boolean
  }[]
}
export interface GroupInfo extends GroupSpec {
  readonly progress?: readonly {
    readonly queue: Queue
    readonly committed: Offset
    readonly max: Offset
    readonly leased: number
    readonly readAt?: EpochMs
  }[]
}

export interface AdminResults {
  putTopics: { readonly failed: readonly { readonly at: number; readonly fault: Fault }[] }
  deleteTopic: {}
  listTopics: { readonly topics: readonly TopicSpec[] }
  putGroup: {}
  deleteGroup: {}
  listGroups: { readonly groups: readonly GroupSpec[] }
  resetOffset: { readonly offsets: readonly { readonly queue: Queue; readonly offset: Offset }[] }
  nodes: { readonly nodes: readonly { readonly node: string; readonly address: string; readonly cluster: string }[] }
  putUser: {}
  deleteUser: {}
  listUsers: {
    readonly users: readonly { readonly user: string; readonly super: boolean; readonly enabled: boolean }[]
  }
  putAcl: {}
  deleteAcl: {}
  listAcl: { readonly rules: readonly AclRule[] }
  ask: { readonly answer: unknown } // a client's own answer, handed through
}
export interface AclRule {
  readonly subject: string
  readonly resource: string
  readonly actions: readonly string[]
  readonly effect: 'allow' | 'deny'
  readonly from?: readonly string[]
}
export type AdminAction =
  | { readonly do: 'putTopics'; readonly topics: readonly TopicSpec[] }
  | { readonly do: 'deleteTopic'; readonly topic: string }
  | { readonly do: 'listTopics' | 'listGroups' | 'nodes' | 'listUsers' }
  | { readonly do: 'putGroup'; readonly spec: GroupSpec }
  | { readonly do: 'deleteGroup'; readonly group: string }
  | {
      readonly do: 'resetOffset'
      readonly topic: string
      readonly group: string
      readonly to: Start
      readonly queue?: Queue
    }
  | {
      readonly do: 'putUser'
      readonly user: string
      readonly secret: string
      readonly super: boolean
      readonly enabled: boolean
    }
  | { readonly do: 'deleteUser'; readonly user: string }
  | { readonly do: 'putAcl'; readonly rule: AclRule }
  | { readonly do: 'deleteAcl'; readonly subject: string; readonly resource?: string }
  | { readonly do: 'listAcl'; readonly subject?: string }
  | { readonly do: 'ask'; readonly client: string; readonly notice: Extract<Notice, { kind: 'probe' }> }

// ── Replies ───────────────────────────────────────────────────────────────────────────────────
export interface Stored {
  readonly id: string
  readonly queue: Queue
  readonly offset: Offset
  readonly place: Offset
  readonly half?: Half
  readonly recallHandle?: string
  readonly durable?: 'flushTimeout' | 'replicaTimeout' | 'noReplica'
} // stored, but less safely than asked
export interface Replies {
  publish: { readonly stored: readonly (Stored | Fault)[] } // one a message, in order; oneway: empty
  endTransaction: {}
  recall: { readonly id: string }
  read: { readonly batch: Batch; readonly next: Offset; readonly min: Offset; readonly max: Offset } // offset outside [min, max] is answered, not thrown
  pop: { readonly batch: Batch; readonly more: boolean } // max 0: `more` says there is something now
  settle: {
    readonly renewed?: readonly (Receipt | undefined)[]
    readonly failed: readonly { readonly at: number; readonly fault: Fault }[]
  }
  commitOffset: {}
  queryOffset: { readonly offset: Offset; readonly storedAt?: EpochMs } // no offset of the group: Fault 'notFound'
  open: { readonly existed: boolean; readonly epoch: number; readonly incoming: readonly number[] }
  heartbeat: {}
  leave: {}
  bind: {
    readonly granted: readonly (true | Fault)[] // one a member of `add`
    readonly existed: readonly boolean[] // one a member of `remove`; empty for 'others'
  }
  topic: TopicInfo
  group: GroupInfo
  assign: { readonly queues: readonly { readonly queue: Queue; readonly mode: 'pull' | 'pop' }[] | undefined } // undefined: keep what you have
  members: { readonly members: readonly Member[] }
  lock: { readonly locked: readonly Queue[] }
  admin: AdminResults[keyof AdminResults]
}
export type ReplyTo<K extends Kind> = Replies[K]

// ── Notices ───────────────────────────────────────────────────────────────────────────────────
export type Notice =
  | { readonly kind: 'checkTransaction'; readonly message: StoredMessage; readonly half: Half }
  | { readonly kind: 'rebalance'; readonly group: string }
  | {
      readonly kind: 'resetOffset'
      readonly group: string
      readonly topic: string
      readonly offsets: readonly { readonly queue: Queue; readonly offset: Offset }[]
    }
  | { readonly kind: 'unbound'; readonly inbox: string; readonly pattern: string } // lite: another client took it; topic deleted
  | {
      readonly kind: 'goAway'
      readonly reason: 'draining' | 'aged' | 'takenOver' | 'kicked'
      readonly elsewhere?: string
    }
  | {
      readonly kind: 'probe'
      readonly ask: 'stack' | 'status' | { readonly verify: StoredMessage; readonly group: string }
    } // the only one with an answer

/** A real broker names no client for a check or a rebalance, only a group; the session registry of the process resolves it. */
export type Addressee =
  | { readonly session: string }
  | { readonly group: string; readonly role: 'produces' | 'consumes'; readonly one: boolean }

// ── Faults ────────────────────────────────────────────────────────────────────────────────────
export type FaultCode =
  | 'malformed'
  | 'tooLarge'
  | 'unsupported'
  | 'unauthenticated'
  | 'forbidden'
  | 'invalid'
  | 'topicNotFound'
  | 'groupNotFound'
  | 'receiptExpired'
  | 'notFound'
  | 'conflict'
  | 'limit'
  | 'throttled'
  | 'busy'
  | 'circuitOpen'
  | 'unavailable'
  | 'draining' // certainly not done: retry is sensible
  | 'outcomeUnknown' // sent, no answer in time: must not be said as "refused"
  | 'internal'

const brand: unique symbol = Symbol.for('sluice.Fault') as never

/** Why a command was not done. A refusal is data: only `internal` captures a stack. */
export class Fault extends Error {
  readonly [brand] = true
  readonly code: FaultCode
  readonly about: string | undefined // 'topic' | 'tag' | 'key' | 'group' | 'filter' | 'receipt' | 'type' | …: gRPC and remoting name it
  readonly node: string | undefined
  readonly retryAfter: Ms | undefined
  constructor(
    code: FaultCode,
    message: string,
    more: { about?: string; node?: string; retryAfter?: Ms; cause?: unknown } = {},
  ) {
    const limit = Error.stackTraceLimit
    if (code !== 'internal') Error.stackTraceLimit = 0 // a refusal is data: a throttle storm must not capture stacks
    super(message, { cause: more.cause })
    Error.stackTraceLimit = limit
    this.name = 'Fault'
    this.code = code
    this.about = more.about
    this.node = more.node
    this.retryAfter = more.retryAfter
  }
  /** Recognised by a registered symbol, so that a second install of the package still works. */
  static is(value: unknown): value is Fault {
    return typeof value === 'object' && value !== null && brand in value
  }
  /** The only door from an unknown throw to a Fault: what is not one becomes `internal`, its text kept from clients. */
  static from(value: unknown): Fault {
    return Fault.is(value) ? value : new Fault('internal', 'internal error', { cause: value })
  }
}

// A merged kind ('lock' | 'unlock') once made CommandOf<K> never: the compiler now says so.
type Never<K extends Kind> = K extends Kind ? ([CommandOf<K>] extends [never] ? K : never) : never
type Unmatched = Exclude<Kind, keyof Replies> | Exclude<keyof Replies, Kind> | Never<Kind>
const everyKindHasACommandAndAReply: [Unmatched] extends [never] ? true : Unmatched = true
void everyKindHasACommandAndAReply

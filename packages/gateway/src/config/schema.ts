import { defaultLimits, isLoopback, parseAddress } from '@sluice/core'
import { z } from 'zod'

const port = z.number().int().min(0).max(65535)
const ms = z.number().int().min(0)
const bytes = z.number().int().min(1)
const count = z.number().int().min(1)

const listener = z.strictObject({
  host: z.string().default('127.0.0.1').describe('Address to listen on.'),
  port: port.describe('0: any free port.'),
  protocols: z.array(z.string()).min(1).optional().describe('Absent: all, told apart by their first bytes.'),
  tls: z
    .strictObject({
      cert: z.string().describe('PEM file.'),
      key: z.string().describe('PEM file.'),
      ca: z.string().optional().describe('PEM file of the authorities that client certificates are checked against.'),
      clientAuth: z.boolean().default(false).describe('Whether clients must show a certificate.'),
      mode: z.enum(['require', 'accept']).default('require').describe('accept: TLS and plain on one port.'),
    })
    .refine(({ ca, clientAuth }) => !clientAuth || ca !== undefined, 'clientAuth needs ca, by which it checks')
    .optional(),
  proxyProtocol: z.enum(['off', 'accept', 'require']).default('off').describe('PROXY protocol, versions 1 and 2.'),
})

const limit = (name: keyof typeof defaultLimits) => z.number().int().min(1).default(defaultLimits[name])

/** The one description of every key: types, defaults, checks, documentation and the JSON Schema come from it. */
export const schema = z.strictObject({
  data: z.string().default('./.sluice').describe("The broker's directory."),
  protocols: z
    .array(z.string())
    .min(1)
    .default(['remoting', 'grpc', 'http', 'mqtt', 'amqp'])
    .describe('Protocols to run: built-in names, or packages that export one.'),
  options: z
    .record(z.string(), z.record(z.string(), z.unknown()))
    .default({})
    .describe('Options of protocols by their names, as their pages have them.'),
  listeners: z
    .array(listener)
    .min(1)
    .default([
      { host: '127.0.0.1', port: 8081, proxyProtocol: 'off' },
      { host: '127.0.0.1', port: 9876, protocols: ['remoting'], proxyProtocol: 'off' },
      { host: '127.0.0.1', port: 8080, protocols: ['http'], proxyProtocol: 'off' },
      { host: '127.0.0.1', port: 1883, protocols: ['mqtt'], proxyProtocol: 'off' },
      { host: '127.0.0.1', port: 5672, protocols: ['amqp'], proxyProtocol: 'off' },
    ]),
  admin: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: port.default(9090),
      insecure: z
        .boolean()
        .default(false)
        .describe('Whether host may be one that others reach: nobody is asked who they are.'),
    })
    .refine(
      ({ host, insecure }) => insecure || isLoopback(host),
      'host is not on loopback, where whoever reaches it may drain and delete; insecure: true if that is wanted',
    )
    .prefault({}),
  advertise: z
    .string()
    .default('dialled')
    .refine((text) => text === 'dialled' || parseAddress(text) !== undefined, 'neither dialled nor host:port')
    .describe('What route answers say: host:port, or the address that the client dialled.'),
  backend: z
    .strictObject({
      embedded: z
        .strictObject({
          node: z.string().min(1).max(64).default('sluice-0').describe("The broker's name in routes and receipts."),
          flush: z
            .enum(['sync', 'async'])
            .default('sync')
            .describe('async: a power cut loses what was acknowledged last.'),
          autoCreateTopics: z.boolean().default(true).describe('Whether a publish to an unknown topic makes it.'),
          queues: z.number().int().min(1).max(1024).default(4).describe('Queues of a topic made so.'),
          retentionMs: ms.default(72 * 3_600_000).describe('Age at which stored messages go.'),
          retentionBytes: bytes.default(50 * 1024 ** 3).describe('Size of the log at which the oldest go.'),
          segmentBytes: bytes
            .min(64 * 1024)
            .default(64 * 1024 ** 2)
            .describe('Size of one file of the log.'),
        })
        .prefault({}),
      brokers: z
        .array(z.string())
        .length(1, 'one broker; several are not built yet')
        .optional()
        .describe('A broker of its own, unix:PATH or host:port. Absent: the embedded one.'),
      secret: z
        .string()
        .min(16)
        .optional()
        .describe('What a broker and its gateways know each other by; needed where others reach it.'),
    })
    .prefault({}),
  workers: z.literal(0).default(0).describe('0: one process. More than one process is not built yet.'),
  drain: z
    .strictObject({ leavingMs: ms.default(5_000), announceMs: ms.default(10_000), settleMs: ms.default(20_000) })
    .prefault({}),
  limits: z
    .strictObject({
      bodyBytes: limit('bodyBytes'),
      frameBytes: limit('frameBytes'),
      inflight: limit('inflight'),
      sessionInflight: limit('sessionInflight'),
      parked: limit('parked'),
      outboundBytes: limit('outboundBytes'),
      handshakeMs: limit('handshakeMs'),
      frameMs: limit('frameMs'),
      stallMs: limit('stallMs'),
      pollMs: limit('pollMs'),
      connections: count.default(defaultLimits.connections),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
      format: z.enum(['auto', 'json', 'pretty']).default('auto').describe('auto: pretty on a terminal.'),
    })
    .prefault({}),
})

export type Config = z.output<typeof schema>
export type ConfigInput = z.input<typeof schema>

/** JSON Schema of the configuration file. */
export const configSchema = (): object => z.toJSONSchema(schema, { io: 'input' })

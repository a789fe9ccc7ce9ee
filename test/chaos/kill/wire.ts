import { type Delivered, Fault, type Kind, type ReplyTo } from '@sluice/core'
import { viewRecord } from '@sluice/remoting'

/** A delivery with its record in place of the view of it. */
type Packed = Omit<Delivered, 'message'> & { readonly record: Buffer }
interface PackedFault {
  readonly $fault: { readonly code: Fault['code']; readonly message: string; readonly about: string | undefined }
}
interface PackedBatch {
  readonly $batch: readonly Packed[]
}

/** Replies as plain data that a process can send. */
export const pack = (value: unknown): unknown => {
  if (Fault.is(value)) return packFault(value)
  if (Array.isArray(value)) return value.map(pack)
  if (!isPlain(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, name === 'batch' ? packBatch(one) : pack(one)]),
  )
}

export const packFault = ({ code, message, about }: Fault): PackedFault => ({ $fault: { code, message, about } })

const packBatch = (batch: Iterable<Delivered>): PackedBatch => ({
  $batch: Array.from(batch, ({ message, ...more }) => ({ ...more, record: message.record! })),
})

const isPlain = (value: unknown): value is Record<string, never> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** What {@link pack} made, as it was before. */
export const unpack = <K extends Kind>(value: unknown, node: string): ReplyTo<K> => open(value, node) as ReplyTo<K>

const open = (value: unknown, node: string): unknown => {
  if (Array.isArray(value)) return value.map((one) => open(one, node))
  if (!isPlain(value)) return value
  if ('$fault' in value) return unpackFault(value as unknown as PackedFault)
  if ('$batch' in value) return unpackBatch(value as unknown as PackedBatch, node)
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, open(one, node)]))
}

export const unpackFault = ({ $fault: { code, message, about } }: PackedFault): Fault =>
  new Fault(code, message, about === undefined ? {} : { about })

const unpackBatch = ({ $batch }: PackedBatch, node: string) =>
  Object.assign(
    $batch.map(({ record, ...more }): Delivered => ({ ...more, message: viewRecord(record, node) })),
    { count: $batch.length, bytes: undefined },
  )

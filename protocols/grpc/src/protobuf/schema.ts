/** Messages by their numbers, made of the description in `descriptor.ts`. Only what the descriptions here use is known. */
export type Kind = 'string' | 'bytes' | 'int32' | 'int64' | 'bool' | 'float' | 'enum' | 'message' | 'map'

export interface Field {
  readonly id: number
  readonly name: string
  readonly kind: Kind
  readonly repeated: boolean
  /** Number and wire type, as they are written before each value. */
  readonly tag: number
  /** Of a message; of a map, the type of its entries. */
  readonly type: MessageType | undefined
  /** Of an enum. */
  readonly values: EnumType | undefined
}

export interface MessageType {
  readonly name: string
  /** In the order of their numbers. */
  readonly fields: readonly Field[]
  readonly byId: readonly (Field | undefined)[]
  /** Those that are always there once it is read. */
  readonly lists: readonly string[]
  readonly maps: readonly string[]
}

export interface EnumType {
  readonly numbers: ReadonlyMap<string, number>
  readonly names: ReadonlyMap<number, string>
}

export interface MethodType {
  readonly name: string
  readonly request: MessageType
  readonly response: MessageType
  /** Any number of requests. */
  readonly reads: boolean
}

/** What the parser of `scripts/describe.ts` makes of .proto files. */
export interface Description {
  readonly nested?: Readonly<Record<string, Description>>
  readonly fields?: Readonly<Record<string, DescribedField>>
  readonly values?: Readonly<Record<string, number>>
  readonly methods?: Readonly<Record<string, DescribedMethod>>
}

interface DescribedField {
  readonly id: number
  readonly type: string
  readonly rule?: string
  readonly keyType?: string
}

interface DescribedMethod {
  readonly requestType: string
  readonly responseType: string
  readonly requestStream?: boolean
}

/** [protobuf encoding, "Message structure"] */
export const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const
const wireOf = { int32: wire.varint, int64: wire.varint, bool: wire.varint, enum: wire.varint, float: wire.fixed32 }

/** Numbers of a list are written together. */
export const isPacked = ({ repeated, kind }: Pick<Field, 'repeated' | 'kind'>): boolean => repeated && kind in wireOf

export class Schema {
  readonly #root: Description
  readonly #messages = new Map<string, MessageType>()

  constructor(root: Description) {
    this.#root = root
  }

  /** @throws Error when there is none */
  service(name: string): readonly MethodType[] {
    const found = this.#find(name)
    if (!found?.methods) throw new Error(`no service ${name}`)
    const scope = name.slice(0, name.lastIndexOf('.'))
    return Object.entries(found.methods).map(([method, { requestType, responseType, requestStream = false }]) => ({
      name: method,
      request: this.message(this.#resolve(requestType, scope)),
      response: this.message(this.#resolve(responseType, scope)),
      reads: requestStream,
    }))
  }

  /** By its full name. @throws Error when there is none */
  message(name: string): MessageType {
    const known = this.#messages.get(name)
    if (known) return known
    const described = this.#find(name)?.fields
    if (!described) throw new Error(`no message ${name}`)
    const fields: Field[] = []
    const byId: (Field | undefined)[] = []
    const type = { name, fields, byId, lists: [] as string[], maps: [] as string[] }
    this.#messages.set(name, type)
    for (const [field, one] of Object.entries(described)) fields.push(this.#field(field, one, name))
    fields.sort((one, other) => one.id - other.id)
    for (const field of fields) {
      byId[field.id] = field
      if (field.kind === 'map') type.maps.push(field.name)
      else if (field.repeated) type.lists.push(field.name)
    }
    return type
  }

  #field(name: string, { id, type, rule, keyType }: DescribedField, scope: string): Field {
    const repeated = rule === 'repeated'
    if (keyType !== undefined) {
      const fields = { key: { id: 1, type: keyType }, value: { id: 2, type } }
      const entry = `${scope}.${name}`
      const made = Object.entries(fields).map(([part, one]) => this.#field(part, one, scope))
      const map = { name: entry, fields: made, byId: [undefined, ...made], lists: [], maps: [] }
      return { id, name, kind: 'map', repeated: false, tag: (id << 3) | wire.bytes, type: map, values: undefined }
    }
    if (isScalar(type)) return { ...tagged(id, type, repeated), name, type: undefined, values: undefined }
    const full = this.#resolve(type, scope)
    const values = this.#find(full)?.values
    if (values) return { ...tagged(id, 'enum', repeated), name, type: undefined, values: enumOf(values) }
    return { ...tagged(id, 'message', repeated), name, type: this.message(full), values: undefined }
  }

  /** A name as it is seen from a place: in it, or in one around it. */
  #resolve(name: string, scope: string): string {
    for (let around = scope; around !== ''; around = around.slice(0, Math.max(0, around.lastIndexOf('.')))) {
      if (this.#find(`${around}.${name}`)) return `${around}.${name}`
    }
    return name
  }

  #find(name: string): Description | undefined {
    return name.split('.').reduce<Description | undefined>((at, part) => at?.nested?.[part], this.#root)
  }
}

const scalars: ReadonlySet<string> = new Set<Kind>(['string', 'bytes', 'int32', 'int64', 'bool', 'float'])
const isScalar = (type: string): type is Kind => scalars.has(type)

const tagged = (id: number, kind: Kind, repeated: boolean): Pick<Field, 'id' | 'kind' | 'repeated' | 'tag'> => {
  const type = isPacked({ repeated, kind }) ? wire.bytes : (wireOf[kind as keyof typeof wireOf] ?? wire.bytes)
  return { id, kind, repeated, tag: (id << 3) | type }
}

const enumOf = (values: Readonly<Record<string, number>>): EnumType => ({
  numbers: new Map(Object.entries(values)),
  names: new Map(Object.entries(values).map(([name, value]) => [value, name])),
})

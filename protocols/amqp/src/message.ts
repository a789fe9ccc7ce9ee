import { isUtf8 } from 'node:buffer'
import { readDescriptor, readSection, writeComposite } from './performatives.ts'
import type { CompositeOf } from './shapes.ts'
import { malformed, Reader } from './types/reader.ts'
import { isMap, type MapValue, type Value } from './types/values.ts'
import { Writer } from './types/writer.ts'

/** A message taken apart. Source: AMQP 1.0 part 3, section 3.2. */
export interface Sections {
  readonly header: CompositeOf<'header'> | undefined
  /** Delivery annotations are for us and end here. */
  readonly annotations: MapValue | undefined
  readonly properties: CompositeOf<'properties'> | undefined
  readonly application: MapValue | undefined
  readonly body: Body
  readonly footer: boolean
  /** Where what must reach the consumer unchanged begins: message annotations, bare message, footer. */
  readonly from: number
}

/** `cuts`: where the bytes of the body stand in the message, begin and end by turns. */
export type Body =
  | { readonly kind: 'none' }
  | { readonly kind: 'data'; readonly cuts: readonly number[] }
  | { readonly kind: 'value'; readonly value: Value; readonly cuts: readonly number[] }
  | { readonly kind: 'sequence'; readonly lists: readonly (readonly Value[])[] }

const HEADER = 0x70
const DELIVERY_ANNOTATIONS = 0x71
const MESSAGE_ANNOTATIONS = 0x72
const PROPERTIES = 0x73
const APPLICATION_PROPERTIES = 0x74
const DATA = 0x75
const SEQUENCE = 0x76
const VALUE = 0x77
const FOOTER = 0x78

/** The number of the section that begins here. @throws Fault 'malformed' about 'value' */
export const readSectionCode = (reader: Reader): number => {
  if (reader.u8() !== 0) throw malformed('a message section is not a described type')
  return readDescriptor(reader)
}

/**
 * message = header? delivery-annotations? message-annotations? properties? application-properties? body footer?
 * body    = data+ | amqp-sequence+ | amqp-value
 * @throws Fault 'malformed' or 'tooLarge' about 'value'
 */
export const readMessage = (bytes: Buffer): Sections => new MessageReader(bytes).read()

class MessageReader {
  readonly #reader: Reader
  readonly #cuts: number[] = []
  readonly #lists: (readonly Value[])[] = []
  #header: CompositeOf<'header'> | undefined
  #annotations: MapValue | undefined
  #properties: CompositeOf<'properties'> | undefined
  #application: MapValue | undefined
  #body: Body = { kind: 'none' }
  #footer = false

  constructor(bytes: Buffer) {
    this.#reader = new Reader(bytes)
  }

  read(): Sections {
    const reader = this.#reader
    let last = 0
    let from = -1
    while (!reader.done) {
      const at = reader.at
      const code = readSectionCode(reader)
      const repeated = code === last && (code === DATA || code === SEQUENCE)
      const second = this.#body.kind !== 'none' && code >= DATA && code <= VALUE && !repeated
      if ((code <= last && !repeated) || second) throw malformed('a message section in the wrong place')
      last = code
      if (code >= MESSAGE_ANNOTATIONS && from < 0) from = at
      this.#section(code)
    }
    return {
      header: this.#header,
      annotations: this.#annotations,
      properties: this.#properties,
      application: this.#application,
      body: this.#body,
      footer: this.#footer,
      from: from < 0 ? reader.at : from,
    }
  }

  #section(code: number): void {
    switch (code) {
      case HEADER:
        this.#header = readSection(this.#reader, 'header')
        return
      case DELIVERY_ANNOTATIONS:
        this.#map()
        return
      case MESSAGE_ANNOTATIONS:
        this.#annotations = this.#map()
        return
      case PROPERTIES:
        this.#properties = readSection(this.#reader, 'properties')
        return
      case APPLICATION_PROPERTIES:
        this.#application = this.#map()
        return
      case DATA:
        this.#data()
        this.#body = { kind: 'data', cuts: this.#cuts }
        return
      case SEQUENCE: {
        const list = this.#reader.value()
        if (!Array.isArray(list)) throw malformed('an amqp-sequence is not a list')
        this.#lists.push(list)
        this.#body = { kind: 'sequence', lists: this.#lists }
        return
      }
      case VALUE: {
        const text = this.#text()
        const value = text ? '' : this.#reader.value()
        this.#body = { kind: 'value', value, cuts: this.#cuts }
        return
      }
      case FOOTER:
        this.#map()
        this.#footer = true
        return
      default:
        throw malformed('a message section of no known type')
    }
  }

  #map(): MapValue {
    const value = this.#reader.value()
    if (!isMap(value)) throw malformed('a message section is not a map')
    return value
  }

  /** A string or binary as amqp-value is a body as it stands: it is left where it is. */
  #text(): boolean {
    const code = this.#reader.peek()
    if (code !== 0xa0 && code !== 0xb0 && code !== 0xa1 && code !== 0xb1) return false
    const bytes = this.#cut()
    if ((code & 1) === 1 && !isUtf8(bytes)) throw malformed('a string is not UTF-8')
    return true
  }

  #data(): void {
    const code = this.#reader.peek()
    if (code !== 0xa0 && code !== 0xb0) throw malformed('a data section is not binary')
    this.#reader.spend(1)
    this.#cut()
  }

  /** A string or binary, noted where it stands. */
  #cut(): Buffer {
    const reader = this.#reader
    const bytes = reader.slice(reader.u8() < 0xb0 ? reader.u8() : reader.u32())
    this.#cuts.push(reader.at - bytes.length, reader.at)
    return bytes
  }
}

export interface Head {
  /** Or as bytes already. */
  readonly header: CompositeOf<'header'> | Buffer
  readonly annotations?: MapValue
  readonly properties?: CompositeOf<'properties'>
  /** Written as text. */
  readonly application?: Readonly<Record<string, string>>
  /** Length of the data section that follows; absent: none does. */
  readonly data?: number
}

const writer = new Writer(2048)

/** Everything of a message that stands before the bytes of its body. */
export const writeHead = ({ header, annotations, properties, application, data }: Head): Buffer => {
  writer.reset()
  if (Buffer.isBuffer(header)) writer.raw(header)
  else writeComposite(writer, header)
  if (annotations) {
    section(MESSAGE_ANNOTATIONS)
    writer.value(annotations)
  }
  if (properties) writeComposite(writer, properties)
  if (application) writeText(application)
  if (data !== undefined) {
    section(DATA)
    if (data < 256) {
      writer.u8(0xa0)
      writer.u8(data)
    } else {
      writer.u8(0xb0)
      writer.u32(data)
    }
  }
  return writer.copy()
}

const section = (code: number): void => {
  writer.u8(0)
  writer.u8(0x53)
  writer.u8(code)
}

const writeText = (properties: Readonly<Record<string, string>>): void => {
  const from = writer.at
  section(APPLICATION_PROPERTIES)
  const mark = writer.open(0xc1)
  let count = 0
  for (const name in properties) {
    writer.string(name)
    writer.string(properties[name] as string)
    count += 2
  }
  writer.close(mark, count)
  if (count === 0) writer.at = from
}

import type { Exchange } from './exchange.ts'
import { grpcStatus } from './method.ts'
import { reflected } from './reflected.ts'

interface ReflectionRequest {
  readonly file_by_filename?: string
  readonly file_containing_symbol?: string
  readonly file_containing_extension?: { readonly containing_type?: string }
  readonly all_extension_numbers_of_type?: string
  readonly list_services?: string
}

/** Files by the package that is all of them; the one that holds a type of Google's is named by the type. */
const fileOf = (symbol: string): string | undefined =>
  Object.keys(reflected).find((name) => {
    const folder = name.slice(0, name.lastIndexOf('/')).replaceAll('/', '.')
    if (!folder.startsWith('google.')) return symbol.startsWith(`${folder}.`)
    const type = name.slice(name.lastIndexOf('/') + 1, -'.proto'.length)
    return symbol.toLowerCase() === `${folder}.${type}`
  })

const found = (name: string | undefined) => {
  const file = name === undefined ? undefined : reflected[name]
  return file === undefined
    ? missing('no such file or symbol')
    : { file_descriptor_response: { file_descriptor_proto: [Buffer.from(file, 'base64')] } }
}

const missing = (error_message: string) => ({ error_response: { error_code: grpcStatus.NOT_FOUND, error_message } })

const answer = (request: ReflectionRequest, services: readonly string[]): object => {
  if (request.list_services !== undefined) {
    return { list_services_response: { service: services.map((name) => ({ name })) } }
  }
  if (request.file_by_filename !== undefined) return found(request.file_by_filename)
  if (request.file_containing_symbol !== undefined) return found(fileOf(request.file_containing_symbol))
  const type = request.all_extension_numbers_of_type
  if (type !== undefined && fileOf(type)) {
    return { all_extension_numbers_response: { base_type_name: type, extension_number: [] } }
  }
  return missing('nothing is extended here')
}

/** `grpc.reflection.v1` and `v1alpha`: what is served here, described for tools. */
export const reflection = async (exchange: Exchange, services: readonly string[]): Promise<void> => {
  exchange.finish = () => exchange.end()
  await exchange.each((request: ReflectionRequest) =>
    exchange.written({ original_request: request, ...answer(request, services) }),
  )
  exchange.end()
}

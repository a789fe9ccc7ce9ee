import { Client, credentials, type ServiceDefinition } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { House, type Reply } from '../test/harness.ts'
import { descriptor } from './descriptor.ts'

const described = fromJSON(descriptor as Parameters<typeof fromJSON>[0], { keepCase: true, oneofs: true })
let house: House
let client: Client
beforeEach(async () => {
  house = await House.open({ users: { AK: 'secret' } })
  client = new Client(`127.0.0.1:${house.port}`, credentials.createInsecure())
})
afterEach(async () => {
  client.close()
  await house.close()
})

const method = (service: string, name: string) => (described[service] as ServiceDefinition)[name]!
const unary = (name: string, request: object): Promise<Reply> => {
  const { path, requestSerialize, responseDeserialize } = method('grpc.health.v1.Health', name)
  return new Promise((resolve, reject) =>
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, reply) =>
      error ? reject(error) : resolve(reply),
    ),
  )
}

describe('health', () => {
  it('serves, asked by anybody, for the services there are', async () => {
    for (const service of ['', 'apache.rocketmq.v2.MessagingService']) {
      expect(await unary('Check', { service })).toEqual({ status: 1 })
    }
    await expect(unary('Check', { service: 'other' })).rejects.toMatchObject({ code: 5 })
    expect(Object.keys((await unary('List', {})).statuses)).toEqual(['', 'apache.rocketmq.v2.MessagingService'])
  })

  it('is watched until a drain, which says so and ends with OK', async () => {
    const { path, requestSerialize, responseDeserialize } = method('grpc.health.v1.Health', 'Watch')
    const watch = (service: string) => {
      const said: number[] = []
      const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service })
      const first = new Promise((resolve) => stream.once('data', resolve))
      stream.on('data', ({ status }: Reply) => said.push(status))
      const ended = new Promise((resolve, reject) => stream.once('status', resolve).once('error', reject))
      return { said, first, ended }
    }
    const [known, unknown] = [watch(''), watch('other')]
    await Promise.all([known.first, unknown.first])
    const [connection] = house.server.connections()
    expect(connection?.busy).toBe(0)
    connection?.goAway('draining')
    expect(await known.ended).toMatchObject({ code: 0 })
    await unknown.ended
    expect([known.said, unknown.said]).toEqual([[1, 2], [3]])
  })
})

describe('reflection', () => {
  const ask = async (version: string, ...requests: object[]): Promise<Reply[]> => {
    const { requestSerialize, responseDeserialize } = method(
      'grpc.reflection.v1.ServerReflection',
      'ServerReflectionInfo',
    )
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
    const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
    for (const request of requests) stream.write(request)
    stream.end()
    const replies: Reply[] = []
    for await (const reply of stream) replies.push(reply)
    return replies
  }

  it('lists services and describes them with what they need, in both versions', async () => {
    for (const version of ['v1', 'v1alpha']) {
      const [listed, file, dependency, symbol, missing] = await ask(
        version,
        { list_services: '*' },
        { file_containing_symbol: 'apache.rocketmq.v2.MessagingService' },
        { file_by_filename: 'google/protobuf/timestamp.proto' },
        { file_containing_symbol: 'google.protobuf.Duration' },
        { file_containing_symbol: 'nobody.Knows' },
      )
      expect(listed.list_services_response.service.map(({ name }: Reply) => name)).toContain(
        'apache.rocketmq.v2.MessagingService',
      )
      const [bytes] = file.file_descriptor_response.file_descriptor_proto
      expect(String(bytes)).toContain('SyncLiteSubscription')
      expect(String(bytes)).toContain('google/protobuf/timestamp.proto')
      for (const one of [dependency, symbol]) expect(one.message_response).toBe('file_descriptor_response')
      expect(missing.error_response.error_code).toBe(5)
    }
  })

  it('knows of no extensions', async () => {
    const [of, numbers] = await ask(
      'v1',
      { file_containing_extension: { containing_type: 'apache.rocketmq.v2.Message', extension_number: 1 } },
      { all_extension_numbers_of_type: 'apache.rocketmq.v2.Message' },
    )
    expect(of.error_response.error_code).toBe(5)
    expect(numbers.all_extension_numbers_response.base_type_name).toBe('apache.rocketmq.v2.Message')
  })
})

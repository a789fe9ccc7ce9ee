import { describe } from 'vitest'
import { House } from '../../test/harness.ts'

// What every call, the drain and rude clients see is the same, whoever speaks HTTP/2.
House.transport = 'grpc-js'

describe('every call, over grpc-js', async () => void (await import('../rpcs.test.ts')))
describe('the drain, over grpc-js', async () => void (await import('../drain.test.ts')))
describe('rude clients, over grpc-js', async () => void (await import('../rude.test.ts')))
describe('what a client costs, over grpc-js', async () => void (await import('../bounds.test.ts')))

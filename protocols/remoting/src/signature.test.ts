import type { Frame } from '@sluice/remoting'
import { expect, it } from 'vitest'
import { signedContent, signerOf } from './signature.ts'

const frame = (ext: Record<string, string>, version = 479, body?: Buffer): Frame => ({
  code: 310,
  language: 'JAVA',
  version,
  opaque: 1,
  flag: 0,
  ext,
  ...(body && { body }),
  binary: false,
})

it('is made over all values in the order of their names, then the body', () => {
  const ext = { b: '2', a: '1', Z: '0', OnsChannel: 'ALIYUN', AccessKey: 'ada', Signature: 'x' }
  expect(String(signedContent(frame(ext, 479, Buffer.from('body'))))).toBe('adaALIYUN012body')
})

it('leaves one field out for clients that did not sign it', () => {
  const ext = { _UNIQUE_KEY_QUERY: 'true', topic: 'T' }
  expect(String(signedContent(frame(ext, 399)))).toBe('T')
  expect(String(signedContent(frame(ext, 401)))).toBe('trueT')
})

it('is nobody without a name', () => {
  expect(signerOf(frame({}))).toBe(undefined)
  expect(signerOf(frame({ AccessKey: '', Signature: '' }))).toBe(undefined)
  expect(signerOf(frame({ AccessKey: 'ada' }))).toMatchObject({ user: 'ada', signed: { digest: Buffer.alloc(0) } })
})

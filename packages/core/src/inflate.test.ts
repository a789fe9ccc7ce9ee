import zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { inflate } from './inflate.ts'

const text = Buffer.from('text '.repeat(1000))

describe('inflate', () => {
  it.each([
    ['zlib', zlib.deflateSync(text)],
    ['gzip', zlib.gzipSync(text)],
    ['zstd', zlib.zstdCompressSync(text)],
  ] as const)('undoes %s', (encoding, body) => {
    const plain = inflate({ body, encoding })
    expect(plain.encoding).toBeUndefined()
    expect(plain.body.equals(text)).toBe(true)
  })

  it('leaves a plain body alone, without a copy', () => {
    expect(inflate({ body: text }).body).toBe(text)
  })

  it('says so when it cannot', () => {
    expect(inflate({ body: text, encoding: 'lz4' })).toEqual({ body: text, encoding: 'lz4' })
    expect(inflate({ body: text, encoding: 'zlib' })).toEqual({ body: text, encoding: 'zlib' })
  })

  it('does not let a small body grow without bound', () => {
    const bomb = zlib.gzipSync(Buffer.alloc(64 * 1024 * 1024))
    expect(inflate({ body: bomb, encoding: 'gzip' })).toEqual({ body: bomb, encoding: 'gzip' })
  })
})

import { describe, expect, it } from 'vitest'
import { dropEndlessTimeout } from './timeouts.ts'

const left = (timeout: string) => {
  const headers: Record<string, string> = { 'grpc-timeout': timeout, ':path': '/' }
  dropEndlessTimeout(headers)
  return headers['grpc-timeout']
}

describe('grpc-timeout', () => {
  it('is taken out where 32 bits of milliseconds do not hold it', () => {
    for (const endless of ['31535999M', '87600H', '2147484S', '99999999M', '35792M'])
      expect(left(endless)).toBeUndefined()
  })

  it('stays otherwise, and what is none is left to grpc-js', () => {
    for (const fine of ['3S', '2147483S', '99999999m', '99999999n', '1H', '596H', 'soon', '123456789S', '']) {
      expect(left(fine)).toBe(fine)
    }
  })
})

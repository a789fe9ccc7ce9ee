import { describe, expect, it } from 'vitest'
import { detect } from './detect.ts'

const bytes = (hex: string) => Buffer.from(hex, 'hex')

describe('detect', () => {
  it('says as early as possible', () => {
    const connect = bytes('10818001' + '00044d515454' + '0402')
    for (let length = 0; length < 10; length++) expect(detect(connect.subarray(0, length))).toBeUndefined()
    expect(detect(connect.subarray(0, 10))).toBe(true)
    expect(detect(bytes('100f00064d5149736470'))).toBe(true)
  })

  it('takes nothing else', () => {
    for (const hex of [
      '11',
      'c000',
      '160301',
      '47455420',
      '50524920',
      '414d5150',
      '10ffffffff',
      '100f0005',
      '100f00044d515458',
    ]) {
      expect(detect(bytes(hex)), hex).toBe(false)
    }
  })
})

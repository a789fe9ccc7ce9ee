import { Fault, type FaultCode } from '@sluice/core'
import { describe, expect, it } from 'vitest'
import { described, details, reasonOf, reasons, refusal } from './faults.ts'

/** Source: MQTT 5.0 sections 3.2.2.2, 3.4.2.1, 3.9.3, 3.11.3, 3.14.2.1; MQTT 3.1.1 section 3.2.2.3 */
const legal = {
  puback: [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  suback: [0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  unsuback: [0x80, 0x83, 0x87, 0x8f, 0x91],
  connack: [
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
    0x9d, 0x9f,
  ],
  connack3: [1, 2, 3, 4, 5],
  disconnect: [
    0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
} as const
const codes = Object.keys(reasons) as FaultCode[]
const all = [
  ...codes.map((code) => new Fault(code, 'x')),
  ...Object.keys(details).map((key) => new Fault(key.split(' ')[0] as FaultCode, 'x', { about: key.split(' ')[1]! })),
]

describe('reasons', () => {
  it('are legal where they are said', () => {
    for (const fault of all) {
      const reason = reasonOf(fault)
      for (const where of ['puback', 'suback', 'connack', 'connack3', 'disconnect'] as const) {
        const code = reason[where]
        if (code !== undefined) expect(legal[where], `${fault.code} ${fault.about} in ${where}`).toContain(code)
      }
      expect(legal.unsuback, `${fault.code} ${fault.about}`).toContain(reason.unsuback ?? reason.suback)
    }
  })

  it('that pass are never a refusing CONNACK', () => {
    for (const fault of all) if (reasonOf(fault).passing) expect(refusal(fault)).toBeUndefined()
  })

  it('never say that something was refused when nobody knows', () => {
    expect(reasons.outcomeUnknown).not.toHaveProperty('puback')
  })

  it('are told apart by what they are about, for their own code only', () => {
    expect(reasonOf(new Fault('invalid', 'x', { about: 'topic' })).puback).toBe(0x90)
    expect(reasonOf(new Fault('forbidden', 'x', { about: 'topic' })).puback).toBe(0x87)
  })

  it('have texts, save for internal ones', () => {
    expect(described(new Fault('internal', 'secret'))).toEqual({})
    expect(described(new Fault('limit', 'x'.repeat(500))).properties?.reasonString).toHaveLength(200)
  })
})

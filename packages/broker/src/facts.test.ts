import { type Message, names } from '@sluice/core'
import { PackedMessage, PropertyView, system } from '@sluice/remoting'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { factsOf } from './facts.ts'

const word = fc.constantFrom(
  ...[system.id, system.tag, system.keys, system.group, system.half, system.delayLevel, names.retain, names.expiresAt],
  ...['', 'WAIT', 'true', '1', 'x', 'ü', '\x01', '\x02', '\x01true\x02', '\x02TAGS\x01'],
)

it('are what a view of the same property string says, whole or broken', () => {
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const text = words.join('')
      const view = new PropertyView(Buffer.from(text))
      const message = new PackedMessage('T', Buffer.alloc(0), text) as PackedMessage & Message
      const { id, tag, group, half, timed, retain, expires } = factsOf(message)
      expect({ id, tag, group, half, timed, retain, expires }).toEqual({
        id: view.id,
        tag: view.tag,
        group: view.group,
        half: view.half !== undefined,
        timed: view.get(system.delayLevel) !== undefined,
        retain: view.retain === true,
        expires: view.get(names.expiresAt) !== undefined,
      })
    }),
    { numRuns: Number(process.env.SLUICE_RUNS ?? 10_000) },
  )
})

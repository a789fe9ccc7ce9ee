import { expect, it } from 'vitest'
import { Abort } from './signal.ts'

const make = () => {
  const told: string[] = []
  const function_ = () => void told.push('function')
  const object = { handleEvent: () => void told.push('object') }
  return { abort: new Abort(), told, function_, object }
}

it('tells each of its listeners once, whatever they are', () => {
  const { abort, told, function_, object } = make()
  abort.addEventListener('abort', function_)
  abort.addEventListener('abort', function_)
  abort.addEventListener('abort', object)
  abort.addEventListener('abort', object)
  expect(abort.aborted).toBe(false)
  abort.abort()
  abort.abort()
  expect([abort.aborted, told]).toEqual([true, ['function', 'object']])
})

it('does not tell who has left, or came too late', () => {
  const { abort, told, function_, object } = make()
  abort.addEventListener('abort', object)
  abort.addEventListener('abort', function_)
  abort.removeEventListener('abort', object)
  abort.addEventListener('abort', object)
  abort.removeEventListener('abort', function_)
  abort.abort()
  abort.addEventListener('abort', function_)
  expect(told).toEqual(['object'])
})

it('has aborted before it tells, and lets a listener leave meanwhile', () => {
  const { abort, told, function_ } = make()
  const leaving = () => {
    told.push(`aborted ${abort.aborted}`)
    abort.removeEventListener('abort', leaving)
  }
  abort.addEventListener('abort', leaving)
  abort.addEventListener('abort', function_)
  abort.abort()
  expect(told).toEqual(['aborted true', 'function'])
})

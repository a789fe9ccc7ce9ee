import { Fault } from '@sluice/core'
import { isObject } from './json.ts'

/**
 * The part of JSON Schema 2020-12 that our shapes need: the same object checks a request and stands in the OpenAPI
 * document. `default` is documentation; translate.ts fills it in.
 */
export type Schema =
  | {
      readonly type: 'object'
      readonly description?: string
      readonly properties?: Readonly<Record<string, Schema>>
      readonly required?: readonly string[]
      /** Absent: members without a schema are refused. */
      readonly additionalProperties?: Schema
      readonly maxProperties?: number
    }
  | {
      readonly type: 'array'
      readonly description?: string
      readonly items: Schema
      readonly minItems?: number
      readonly maxItems?: number
    }
  | {
      readonly type: 'string'
      readonly description?: string
      readonly enum?: readonly string[]
      readonly minLength?: number
      readonly maxLength?: number
      readonly default?: string
    }
  | {
      readonly type: 'integer'
      readonly description?: string
      readonly minimum: number
      readonly maximum: number
      readonly default?: number
    }
  | { readonly type: 'boolean'; readonly description?: string; readonly default?: boolean }

const refuse = (at: string, what: string): never => {
  throw new Fault('invalid', `${at} ${what}`, { about: at })
}

/** @throws Fault 'invalid' whose `about` is the path of the first member that does not fit */
export const check = (schema: Schema, value: unknown, at: string): void => {
  switch (schema.type) {
    case 'object':
      return checkObject(schema, value, at)
    case 'array': {
      if (!Array.isArray(value)) return refuse(at, 'is not an array')
      if (value.length < (schema.minItems ?? 0)) refuse(at, `has fewer than ${schema.minItems} elements`)
      if (value.length > (schema.maxItems ?? Number.POSITIVE_INFINITY))
        refuse(at, `has over ${schema.maxItems} elements`)
      return value.forEach((item, index) => {
        check(schema.items, item, `${at}[${index}]`)
      })
    }
    case 'string': {
      if (typeof value !== 'string') return refuse(at, 'is not a string')
      if (schema.enum && !schema.enum.includes(value)) refuse(at, `is none of ${schema.enum.join(', ')}`)
      if (value.length < (schema.minLength ?? 0)) refuse(at, 'is empty')
      if (value.length > (schema.maxLength ?? Number.POSITIVE_INFINITY))
        refuse(at, `is longer than ${schema.maxLength} characters`)
      return
    }
    case 'integer': {
      if (!Number.isSafeInteger(value)) return refuse(at, 'is not an integer')
      const number = value as number
      if (number < schema.minimum || number > schema.maximum)
        refuse(at, `is not from ${schema.minimum} to ${schema.maximum}`)
      return
    }
    case 'boolean':
      if (typeof value !== 'boolean') refuse(at, 'is not true or false')
  }
}

const checkObject = (schema: Schema & { type: 'object' }, value: unknown, at: string): void => {
  if (!isObject(value)) return refuse(at, 'is not an object')
  const { properties = {}, additionalProperties } = schema
  const names = Object.keys(value)
  if (names.length > (schema.maxProperties ?? Number.POSITIVE_INFINITY))
    refuse(at, `has over ${schema.maxProperties} members`)
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) refuse(at, `has no ${name}`)
  for (const name of names) {
    const inner = Object.hasOwn(properties, name) ? properties[name] : additionalProperties
    const path = at === 'body' ? name : `${at}.${name}`
    if (inner) check(inner, value[name], path)
    else refuse(path, `is unknown; known are ${Object.keys(properties).join(', ')}`)
  }
}

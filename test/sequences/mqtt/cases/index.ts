import type { Case } from '../case.ts'
import { framing } from './framing.ts'
import { properties } from './properties.ts'
import { texts } from './text.ts'

export const cases: readonly Case[] = [...framing, ...properties, ...texts]

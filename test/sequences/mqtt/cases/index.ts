import type { Case } from '../case.ts'
import { connecting } from './connect.ts'
import { rightForms } from './forms.ts'
import { framing } from './framing.ts'
import { properties } from './properties.ts'
import { publishing } from './publishing.ts'
import { sessions } from './sessions.ts'
import { subscribing } from './subscribing.ts'
import { texts } from './text.ts'
import { web } from './web.ts'

/** Those that wait for something first. */
export const cases: readonly Case[] = [
  ...sessions,
  ...connecting,
  ...publishing,
  ...subscribing,
  ...web,
  ...rightForms,
  ...framing,
  ...properties,
  ...texts,
]

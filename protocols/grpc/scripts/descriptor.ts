/**
 * proto/messaging.proto → src/descriptor.ts, so that a start parses no text.
 *   npx node protocols/grpc/scripts/descriptor.ts
 */
import { writeFileSync } from 'node:fs'
import { describeProto } from './describe.ts'

const target = new URL('../src/descriptor.ts', import.meta.url)
writeFileSync(target, describeProto())

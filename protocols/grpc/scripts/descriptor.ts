/**
 * proto/*.proto → src/descriptor.ts and src/reflected.ts, so that a start parses no text.
 *   npx node protocols/grpc/scripts/descriptor.ts
 */
import { writeFileSync } from 'node:fs'
import { describeFiles, describeProto } from './describe.ts'

const write = (name: string, text: string) => writeFileSync(new URL(`../src/${name}.ts`, import.meta.url), text)
write('descriptor', describeProto())
write('reflected', describeFiles())

import { readFileSync } from 'node:fs'

// Read, not imported: a package's sources stay in their folder, also in tests.
const read = (name: string): Buffer => readFileSync(new URL(`../../../test/tls/${name}`, import.meta.url))
const pair = (name: string) => ({ cert: read(`${name}.crt`), key: read(`${name}.key`) })

export const authority = read('ca.crt')
export const server = pair('server')
export const client = pair('client')
export const stranger = pair('stranger')

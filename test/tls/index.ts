import { readFileSync } from 'node:fs'

const read = (name: string): Buffer => readFileSync(new URL(name, import.meta.url))
const pair = (name: string) => ({ cert: read(`${name}.crt`), key: read(`${name}.key`) })

/** For tests only: the keys are public. Made by `generate.sh`. */
export const authority = read('ca.crt')
/** Signed by the authority for localhost, 127.0.0.1 and ::1. */
export const server = pair('server')
/** Signed by the authority. */
export const client = pair('client')
/** Signed by itself: nobody trusts it. */
export const stranger = pair('stranger')

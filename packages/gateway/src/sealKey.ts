import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from './config/load.ts'

const KEY_FILE = 'seal.key'
const KEY_BYTES = 32

/**
 * The secret that receipts are sealed with, made once per data directory: a gateway that starts there with an empty
 * memory opens what the one before it sealed. Readable by its owner only.
 * @throws ConfigError for a file that holds something else
 */
export const sealKey = (data: string): Buffer => {
  const path = join(data, KEY_FILE)
  if (!existsSync(path)) {
    // A link appears whole or not at all, and only where nothing is: two processes agree on one key.
    const draft = `${path}.${process.pid}`
    writeFileSync(draft, randomBytes(KEY_BYTES).toString('hex'), { mode: 0o600, flush: true })
    try {
      linkSync(draft, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      rmSync(draft, { force: true })
    }
  }
  const key = Buffer.from(readFileSync(path, 'utf8').trim(), 'hex')
  if (key.length === KEY_BYTES) return key
  throw new ConfigError(`${path} holds no key; without it a new one is made, and receipts given out so far are void`)
}

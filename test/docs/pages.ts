import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { conversionsPage } from './conversions.ts'
import { remotingPage } from './remoting.ts'

export interface Page {
  readonly file: string
  readonly text: string
}

const inDocs = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url))

/** Every page of docs/ that is printed from code. */
export const pages = (): readonly Page[] => [
  { file: inDocs('conversions.md'), text: conversionsPage() },
  { file: inDocs('remoting.md'), text: remotingPage(readFileSync(inDocs('remoting.md'), 'utf8')) },
]

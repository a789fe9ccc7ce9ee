import { fileURLToPath } from 'node:url'
import { conversionsPage } from './conversions.ts'

export interface Page {
  readonly file: string
  readonly text: string
}

const inDocs = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url))

/** Every page of docs/ that is printed from code. */
export const pages = (): readonly Page[] => [{ file: inDocs('conversions.md'), text: conversionsPage() }]

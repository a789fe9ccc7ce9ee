import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { pages } from './pages.ts'

describe('printed pages', () => {
  it.each(pages().map((page) => [basename(page.file), page] as const))(
    'docs/%s is fresh: `npm run docs`',
    (_, page) => {
      expect(readFileSync(page.file, 'utf8')).toBe(page.text)
    },
  )
})

import { readFileSync } from 'node:fs'

/** A shell block of a Markdown page. */
export interface Block {
  /** Words after `sh` on its fence: what it needs beyond npm. */
  readonly needs: readonly string[]
  readonly script: string
}

export const shellBlocks = (page: string): readonly Block[] => {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8')
  return [...text.matchAll(/^```sh *([^\n]*)\n(.*?)^```/gms)].map(([, needs = '', script = '']) => ({
    needs: needs.split(' ').filter((word) => word !== ''),
    script,
  }))
}

/** Blocks that talk to a gateway that runs, and need nothing else. */
export const gatewayBlocks = (page: string): readonly Block[] =>
  shellBlocks(page).filter(({ needs, script }) => needs.length === 0 && !/^npm /m.test(script))

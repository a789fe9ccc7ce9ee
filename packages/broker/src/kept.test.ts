import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CommandOf } from '@sluice/core'
import { expect, it } from 'vitest'
import { bodies, contextOf, message, turn } from '../test/support.ts'
import { openBroker } from './broker.ts'
import { type FileLayer, type OpenFile, realFiles } from './files.ts'

/** Real files, whose writes stand still while they are held. */
class HeldFiles {
  #held: (() => void)[] | undefined

  readonly layer: FileLayer = { ...realFiles, open: async (path, how) => this.#file(await realFiles.open(path, how)) }

  hold(): void {
    this.#held = []
  }

  release(): void {
    for (const go of this.#held ?? []) go()
    this.#held = undefined
  }

  #file(file: OpenFile): OpenFile {
    return {
      write: async (bytes, position) => {
        if (this.#held) await new Promise<void>((resolve) => this.#held?.push(resolve))
        await file.write(bytes, position)
      },
      read: (position, length, into) => file.read(position, length, into),
      sync: () => file.sync(),
      size: () => file.size(),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    }
  }
}

it('a receipt is given when its lease is written, and not before: a killed broker must know it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-kept-'))
  const files = new HeldFiles()
  const broker = await openBroker({ dir, files: files.layer })
  const context = contextOf()
  try {
    const publish: CommandOf<'publish'> = { kind: 'publish', messages: [message('T', 'x')], oneway: false }
    await broker.execute('sluice-0', publish, context)
    files.hold()
    let given = false
    const popped = broker.execute(
      'sluice-0',
      {
        kind: 'pop',
        source: { kind: 'group', topic: 'T', group: 'g' },
        max: 1,
        invisible: 10_000,
        wait: 0,
        fifo: false,
      },
      context,
    )
    void popped.then(() => (given = true))
    await turn(20)
    expect(given).toBe(false)
    files.release()
    expect(bodies([...(await popped).batch])).toEqual(['x'])
  } finally {
    files.release()
    await broker.close()
    await rm(dir, { recursive: true })
  }
})

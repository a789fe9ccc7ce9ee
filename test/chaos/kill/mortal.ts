import { basename } from 'node:path'
import { type FileLayer, type How, type OpenFile, realFiles } from '@sluice/broker'

/** What a process does with its files; each is a moment to be killed at. */
export const acts = ['write', 'sync', 'create', 'rename', 'unlink', 'syncDir', 'read'] as const
export type Act = (typeof acts)[number]

export interface Death {
  readonly act: Act
  /** The how manieth from now. */
  readonly at: number
  readonly when: 'before' | 'after' | 'half'
}

/** The real disk, under a process that is killed at a chosen moment. SIGKILL to itself: nothing runs after it. */
export class MortalFiles implements FileLayer {
  #death: Death | undefined
  #left = 0
  /** Under way. */
  #busy = 0
  /** Indexes that were written while the broker came up. */
  indexes = 0

  arm(death: Death | undefined): void {
    this.#death = death
    this.#left = death?.at ?? 0
  }

  get isBusy(): boolean {
    return this.#busy > 0
  }

  makeDir(path: string): Promise<void> {
    return realFiles.makeDir(path)
  }
  list(dir: string): Promise<string[]> {
    return realFiles.list(dir)
  }
  lock(dir: string): Promise<() => Promise<void>> {
    return realFiles.lock(dir)
  }
  rename(from: string, to: string): Promise<void> {
    return this.#do('rename', () => realFiles.rename(from, to))
  }
  unlink(path: string): Promise<void> {
    return this.#do('unlink', () => realFiles.unlink(path))
  }
  syncDir(dir: string): Promise<void> {
    return this.#do('syncDir', () => realFiles.syncDir(dir))
  }

  async open(path: string, how: How): Promise<OpenFile> {
    if (how === 'create' && basename(path).endsWith('.index.tmp')) this.indexes++
    const file = await (how === 'create'
      ? this.#do('create', () => realFiles.open(path, how))
      : realFiles.open(path, how))
    return {
      write: (bytes, position) => this.#write(file, bytes, position),
      read: (position, length, into) => this.#do('read', () => file.read(position, length, into)),
      sync: () => this.#do('sync', () => file.sync()),
      size: () => file.size(),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    }
  }

  /** Whether it is time, and which. */
  #isDue(act: Act): Death['when'] | undefined {
    return this.#death?.act === act && --this.#left === 0 ? this.#death.when : undefined
  }

  #write(file: OpenFile, bytes: readonly Buffer[], position: number): void | Promise<void> {
    const due = this.#isDue('write')
    if (due === 'before') die()
    if (due === 'half') {
      const all = Buffer.concat(bytes)
      void file.write([all.subarray(0, Math.ceil(all.length / 2))], position)
      die()
    }
    const writing = file.write(bytes, position)
    if (!writing) return due ? die() : undefined
    return this.#count(writing).then(() => (due ? die() : undefined))
  }

  async #do<T>(act: Act, run: () => Promise<T>): Promise<T> {
    const due = this.#isDue(act)
    if (due === 'before') die()
    const done = await this.#count(run())
    if (due) die()
    return done
  }

  async #count<T>(running: Promise<T>): Promise<T> {
    this.#busy++
    try {
      return await running
    } finally {
      this.#busy--
    }
  }
}

const die = (): void => {
  process.kill(process.pid, 'SIGKILL')
}

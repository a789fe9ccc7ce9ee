import { constants, writevSync } from 'node:fs'
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Fault } from '@sluice/core'

/** 'direct': to be read past the system's memory, at what is aligned in the file and in memory. */
export type How = 'create' | 'write' | 'read' | 'direct'

/** All that the broker asks of a disk, so that a test can be the disk. */
export interface FileLayer {
  /** With the directories above it. */
  makeDir(path: string): Promise<void>
  /** Names, in no order. */
  list(dir: string): Promise<string[]>
  /** 'create': empty, replacing what was there. @throws where a file system, or the machine, has no direct reads */
  open(path: string, how: How): Promise<OpenFile>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Makes new, renamed and removed names of a directory durable. */
  syncDir(dir: string): Promise<void>
  /**
   * One process a directory. The returned function lets go.
   * @throws Fault 'conflict' about 'dir' naming the process that holds it
   */
  lock(dir: string): Promise<() => Promise<void>>
}

export interface OpenFile {
  /** One write. In the page cache when it returns or resolves; what is short may block. */
  write(bytes: readonly Buffer[], position: number): void | Promise<void>
  /** Fewer bytes only at the end of the file. @param into memory to read into, as long as `length` or longer; absent: new memory */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>
  /** fdatasync: contents and size. */
  sync(): Promise<void>
  size(): Promise<number>
  truncate(size: number): Promise<void>
  close(): Promise<void>
}

/** Up to it a write of its own thread costs more than the write, which takes 0.5 ms where the memory is new. */
const WRITE_AT_ONCE = 256 * 1024

class RealFile implements OpenFile {
  readonly #handle: FileHandle
  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  write(bytes: readonly Buffer[], position: number): void | Promise<void> {
    let total = 0
    for (const one of bytes) total += one.length
    if (total > WRITE_AT_ONCE) return this.#writeLater(bytes, position, total)
    if (writevSync(this.#handle.fd, bytes, position) !== total) throw new Error('short write')
  }

  async #writeLater(bytes: readonly Buffer[], position: number, total: number): Promise<void> {
    const { bytesWritten } = await this.#handle.writev(bytes, position)
    if (bytesWritten === total) return
    // A full disk or a signal may cut a write short: the rest once more, and what fails then says why.
    const rest = Buffer.concat(bytes).subarray(bytesWritten)
    const again = await this.#handle.write(rest, 0, rest.length, position + bytesWritten)
    if (again.bytesWritten !== rest.length) throw new Error('short write')
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    const buffer = into ?? Buffer.allocUnsafeSlow(length)
    let have = 0
    while (have < length) {
      const { bytesRead } = await this.#handle.read(buffer, have, length - have, position + have)
      if (bytesRead === 0) break
      have += bytesRead
    }
    return buffer.subarray(0, have)
  }

  sync(): Promise<void> {
    return this.#handle.datasync()
  }
  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }
  truncate(size: number): Promise<void> {
    return this.#handle.truncate(size)
  }
  close(): Promise<void> {
    return this.#handle.close()
  }
}

const flagsOf = (how: How): string | number => {
  if (how !== 'direct') return { create: 'w+', write: 'r+', read: 'r' }[how]
  if (constants.O_DIRECT === undefined) throw new Error('no direct reads on this machine')
  return constants.O_RDONLY | constants.O_DIRECT
}
const held = new Set<string>()

export const realFiles: FileLayer = {
  makeDir: async (path) => void (await mkdir(path, { recursive: true })),
  list: (dir) => readdir(dir),
  open: async (path, how) => new RealFile(await open(path, flagsOf(how))),
  rename,
  unlink,
  async syncDir(dir) {
    const handle = await open(dir, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  lock: (dir) => lockDir(resolve(dir)),
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code

/** Field 22 of stat, so that another process with a reused number is not taken for the holder. Empty where there is no /proc. */
const startOf = async (pid: number): Promise<string> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

const isAlive = async (text: string): Promise<boolean> => {
  const [pidText = '', start = ''] = text.trim().split(' ')
  const pid = Number(pidText)
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
  }
  return start === '' || (await startOf(pid)) === start
}

/** The lock file says `pid start`; a dead process's is taken over. */
const lockDir = async (dir: string): Promise<() => Promise<void>> => {
  const path = join(dir, 'lock')
  const refuse = (pid: string) => new Fault('conflict', `${dir} is held by process ${pid}`, { about: 'dir' })
  if (held.has(path)) throw refuse(String(process.pid))
  held.add(path)
  const mine = `${path}.${process.pid}`
  const text = `${process.pid} ${await startOf(process.pid)}\n`
  try {
    await writeFile(mine, text)
    for (;;) {
      try {
        await link(mine, path)
        break
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
      }
      const holder = await readFile(path, 'utf8').catch(() => '')
      const [pid = ''] = holder.trim().split(' ')
      // In a container every life has the same number: what this process does not hold itself is from a life before.
      if (pid !== String(process.pid) && (await isAlive(holder))) throw refuse(pid)
      await takeAway(path, holder)
    }
  } catch (error) {
    held.delete(path)
    throw error
  } finally {
    await unlink(mine).catch(() => undefined)
  }
  return async () => {
    if (!held.delete(path)) return
    await unlink(path).catch(() => undefined)
  }
}

/** Removes a stale lock, unless somebody else has just replaced it. */
const takeAway = async (path: string, stale: string): Promise<void> => {
  const aside = `${path}.stale.${process.pid}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  const found = await readFile(aside, 'utf8')
  if (found !== stale) await link(aside, path).catch(() => undefined)
  await unlink(aside)
}

import { basename } from 'node:path'
import type { FileLayer, How, OpenFile } from '@sluice/broker'
import type { Random } from '../campaign/random.ts'

/** Where the broker keeps its files. */
export const DIR = '/disk'
const PAGE = 4096
const SECTOR = 512

type Change =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly size: number }

/** The bytes of a file: what is on the platter, and what since then is only in the page cache. */
class Inode {
  durable: Buffer = Buffer.alloc(0)
  content: Buffer = Buffer.alloc(0)
  changes: Change[] = []
  /** Changes that are durable, before those in the list. */
  #before = 0

  /** Where the changes of now end, for {@link settle}. */
  get mark(): number {
    return this.#before + this.changes.length
  }

  /** A sync that began at this mark is done. */
  settle(mark: number, content: Buffer): void {
    if (mark <= this.#before) return
    this.durable = content
    this.changes.splice(0, mark - this.#before)
    this.#before = mark
  }

  apply(change: Change): void {
    this.content = applied(this.content, change)
    this.changes.push(change)
  }
}

const applied = (content: Buffer, change: Change): Buffer => {
  if (change.kind === 'truncate') {
    if (change.size <= content.length) return Buffer.from(content.subarray(0, change.size))
    return Buffer.concat([content, Buffer.alloc(change.size - content.length)])
  }
  const end = change.at + change.bytes.length
  const next = Buffer.alloc(Math.max(content.length, end))
  content.copy(next)
  change.bytes.copy(next, change.at)
  return next
}

type NameChange =
  | { readonly kind: 'put'; readonly name: string; readonly inode: Inode }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }

/** What a planted fault changes; all off: an honest disk. */
export interface Faults {
  /** fdatasync answers and does nothing. */
  readonly noSync?: boolean
  /** fdatasync answers before it is done. */
  readonly earlySync?: boolean
  /** New and removed names are never made durable. */
  readonly noDirSync?: boolean
}

export class PowerIsOff extends Error {
  constructor() {
    super('the power is off')
  }
}

/**
 * A disk that forgets on {@link cut}. Durable is what was fdatasynced; of the rest survive: any prefix of the changes, or
 * any set of 4 KiB pages in any order, each whole, torn at a sector, or some of its sectors: what was written over zeros may
 * be zeros again anywhere. Names that were created, removed or renamed since
 * the directory was synced survive or not, each on its own.
 */
export class Disk implements FileLayer {
  readonly #random: Random
  readonly #faults: Faults
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  #nameChanges: NameChange[] = []
  #off = false
  #locked = false
  /** Told of each file that is made or emptied. */
  onCreate: (name: string) => void = () => undefined

  constructor(random: Random, faults: Faults = {}, names: Map<string, Inode> = new Map()) {
    this.#random = random
    this.#faults = faults
    this.#names = new Map(names)
    this.#durableNames = new Map(names)
  }

  get isOff(): boolean {
    return this.#off
  }

  /** The power goes. What comes back is another disk with what has survived. */
  cut(): Disk {
    this.#off = true
    const names = new Map(this.#durableNames)
    for (const change of this.#nameChanges) if (this.#random.chance(0.5)) rename(names, change)
    const survived = new Map<string, Inode>()
    const seen = new Map<Inode, Inode>()
    for (const [name, inode] of names) {
      let after = seen.get(inode)
      if (!after) seen.set(inode, (after = this.#survivor(inode)))
      survived.set(name, after)
    }
    return new Disk(this.#random, this.#faults, survived)
  }

  /** For tests of damage: changes a byte that is durable. */
  flip(name: string, at: number): void {
    const inode = this.#names.get(name)!
    for (const bytes of [inode.durable, inode.content]) bytes[at] = bytes[at]! ^ 0xff
  }

  /** Bytes on the platter after the last that is no zero. */
  zerosAtEnd(name: string): number {
    const { durable } = this.#names.get(name)!
    let end = durable.length
    while (end > 0 && durable[end - 1] === 0) end--
    return durable.length - end
  }

  get files(): { readonly name: string; readonly size: number }[] {
    return [...this.#names].map(([name, inode]) => ({ name, size: inode.content.length }))
  }

  async makeDir(): Promise<void> {}

  async list(): Promise<string[]> {
    await this.#pause()
    return [...this.#names.keys()]
  }

  async open(path: string, how: How): Promise<OpenFile> {
    await this.#pause()
    const name = basename(path)
    let inode = this.#names.get(name)
    if (how === 'create') this.onCreate(name)
    if (!inode && how !== 'create') throw Object.assign(new Error(`ENOENT ${name}`), { code: 'ENOENT' })
    if (inode && how === 'create') inode.apply({ kind: 'truncate', size: 0 })
    if (!inode) {
      inode = new Inode()
      this.#names.set(name, inode)
      this.#nameChanges.push({ kind: 'put', name, inode })
    }
    return this.#file(inode)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#pause()
    const change: NameChange = { kind: 'rename', from: basename(from), to: basename(to) }
    rename(this.#names, change)
    this.#nameChanges.push(change)
  }

  async unlink(path: string): Promise<void> {
    await this.#pause()
    const name = basename(path)
    if (!this.#names.delete(name)) throw Object.assign(new Error(`ENOENT ${name}`), { code: 'ENOENT' })
    this.#nameChanges.push({ kind: 'remove', name })
  }

  async syncDir(dir: string): Promise<void> {
    // The directory above was there before.
    if (basename(dir) !== basename(DIR)) return
    const changes = this.#nameChanges.length
    await this.#pause()
    if (this.#faults.noDirSync) return
    for (const change of this.#nameChanges.splice(0, changes)) rename(this.#durableNames, change)
  }

  async lock(): Promise<() => Promise<void>> {
    if (this.#locked) throw new Error('locked')
    this.#locked = true
    return async () => {
      this.#locked = false
    }
  }

  #file(inode: Inode): OpenFile {
    return {
      write: (bytes, at) => {
        this.#check()
        const all = Buffer.concat(bytes)
        // Some layers finish a write at once, some later, and a kernel may do either.
        if (this.#random.chance(0.7)) return inode.apply({ kind: 'write', at, bytes: all })
        return this.#pause().then(() => inode.apply({ kind: 'write', at, bytes: all }))
      },
      read: async (at, length, into = Buffer.allocUnsafeSlow(length)) => {
        await this.#pause()
        return into.subarray(0, inode.content.copy(into, 0, at, at + length))
      },
      sync: () => this.#sync(inode),
      size: async () => inode.content.length,
      truncate: async (size) => {
        await this.#pause()
        inode.apply({ kind: 'truncate', size })
      },
      close: async () => undefined,
    }
  }

  async #sync(inode: Inode): Promise<void> {
    this.#check()
    const { content, mark } = inode
    const finish = () => {
      if (!this.#off) inode.settle(mark, content)
    }
    if (this.#faults.noSync) return this.#pause()
    if (!this.#faults.earlySync) {
      await this.#pause()
      await this.#pause()
      return finish()
    }
    void this.#pause()
      .then(() => this.#pause())
      .then(finish, () => undefined)
  }

  #survivor(inode: Inode): Inode {
    const random = this.#random
    const after = new Inode()
    const kind = random.int(4)
    let content: Buffer = inode.durable
    if (kind === 0)
      for (const change of inode.changes.slice(0, random.int(inode.changes.length + 1)))
        content = applied(content, change)
    else if (kind === 1) content = inode.content
    else if (kind === 2) content = this.#pages(inode)
    after.durable = after.content = Buffer.from(content)
    return after
  }

  /** Each page on its own old, new, torn, or old and new by sectors; the size is what the last page that got there needs. */
  #pages(inode: Inode): Buffer {
    const random = this.#random
    const { durable, content } = inode
    const size = Math.max(durable.length, content.length)
    const result = Buffer.alloc(size)
    durable.copy(result)
    let end = Math.min(durable.length, random.chance(0.5) ? durable.length : content.length)
    for (let page = 0; page < content.length; page += PAGE) {
      const to = Math.min(content.length, page + PAGE)
      if (content.subarray(page, to).equals(result.subarray(page, to))) continue
      const fate = random.int(4)
      if (fate === 0) continue
      if (fate === 1) {
        for (let at = page; at < to; at += SECTOR)
          if (random.chance(0.5)) end = Math.max(end, copied(content, result, at, Math.min(to, at + SECTOR)))
        continue
      }
      const until = fate === 2 ? to : Math.min(to, page + SECTOR * (1 + random.int(PAGE / SECTOR - 1)))
      end = Math.max(end, copied(content, result, page, until))
    }
    return result.subarray(0, end)
  }

  async #pause(): Promise<void> {
    this.#check()
    for (let turns = 1 + this.#random.int(3); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    this.#check()
  }

  #check(): void {
    if (this.#off) throw new PowerIsOff()
  }
}

/** @returns where it ends */
const copied = (from: Buffer, to: Buffer, at: number, end: number): number => {
  from.copy(to, at, at, end)
  return end
}

const rename = (names: Map<string, Inode>, change: NameChange): void => {
  if (change.kind === 'put') names.set(change.name, change.inode)
  else if (change.kind === 'remove') names.delete(change.name)
  else {
    const inode = names.get(change.from)
    if (!inode) return
    names.delete(change.from)
    names.set(change.to, inode)
  }
}

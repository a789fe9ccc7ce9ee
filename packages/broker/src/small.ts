/** A Map that costs nothing before it has something, and little as long as it has one: most inboxes have one binding. */
export class SmallMap<K extends NonNullable<unknown>, V> {
  #many: Map<K, V> | undefined
  #key: K | undefined
  #value: V | undefined

  get size(): number {
    return this.#many?.size ?? (this.#key !== undefined ? 1 : 0)
  }

  has(key: K): boolean {
    return this.#many ? this.#many.has(key) : this.#key === key
  }

  get(key: K): V | undefined {
    if (this.#many) return this.#many.get(key)
    return this.#key === key ? this.#value : undefined
  }

  set(key: K, value: V): this {
    if (this.#many) this.#many.set(key, value)
    else if (this.#key === undefined || this.#key === key) {
      this.#key = key
      this.#value = value
    } else {
      this.#many = new Map([[this.#key, this.#value as V]])
      this.#many.set(key, value)
      this.#key = this.#value = undefined
    }
    return this
  }

  delete(key: K): boolean {
    if (!this.#many) {
      if (this.#key !== key) return false
      this.clear()
      return true
    }
    const was = this.#many.delete(key)
    if (this.#many.size === 0) this.clear()
    return was
  }

  clear(): void {
    this.#many = undefined
    this.#key = undefined
    this.#value = undefined
  }

  keys(): Iterable<K> {
    return this.#many?.keys() ?? (this.#key !== undefined ? [this.#key] : [])
  }

  values(): Iterable<V> {
    return this.#many?.values() ?? (this.#key !== undefined ? [this.#value as V] : [])
  }

  [Symbol.iterator](): Iterator<[K, V]> {
    const entries: Iterable<[K, V]> = this.#many ?? (this.#key !== undefined ? [[this.#key, this.#value as V]] : [])
    return entries[Symbol.iterator]()
  }
}

/** In the order they were added. */
export class SmallSet<T extends NonNullable<unknown>> {
  readonly #map = new SmallMap<T, true>()

  get size(): number {
    return this.#map.size
  }
  has(one: T): boolean {
    return this.#map.has(one)
  }
  add(one: T): this {
    this.#map.set(one, true)
    return this
  }
  delete(one: T): boolean {
    return this.#map.delete(one)
  }
  [Symbol.iterator](): Iterator<T> {
    return this.#map.keys()[Symbol.iterator]()
  }
}

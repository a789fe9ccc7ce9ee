/** How often something happened, over all seeds: a place that no seed reaches is not tested, however many there are. */
export class Coverage {
  readonly #counts = new Map<string, number>()

  hit(what: string, times = 1): void {
    this.#counts.set(what, this.of(what) + times)
  }

  of(what: string): number {
    return this.#counts.get(what) ?? 0
  }

  get counts(): readonly (readonly [string, number])[] {
    return [...this.#counts]
  }

  /** @throws naming what happened less often than it must */
  require(least: Readonly<Record<string, number>>): void {
    const thin = Object.entries(least).filter(([what, times]) => this.of(what) < times)
    if (thin.length === 0) return
    throw new Error(`too thin: ${thin.map(([what, times]) => `${what} ${this.of(what)} of ${times}`).join(', ')}`)
  }

  text(prefix = ''): string {
    return [...this.#counts]
      .filter(([what]) => what.startsWith(prefix))
      .sort()
      .map(([what, times]) => `${what.slice(prefix.length)} ${times.toLocaleString('en-US')}`)
      .join(', ')
  }
}

import { type HostileRow, type HostileTarget, hostileAs, playHostile } from '@sluice/testkit'

/** Plays rows, `width` at a time; `closeMs` as for one. @returns what was wrong, by row, each once, at most twenty */
export const playAll = async (
  rows: Iterable<HostileRow>,
  target: HostileTarget,
  width: number,
  closeMs?: number,
): Promise<{ readonly played: number; readonly wrong: readonly string[] }> => {
  const wrong = new Map<string, string>()
  const queue = rows[Symbol.iterator]()
  let played = 0
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) {
      const row = next.value
      try {
        await playHostile(row, target, closeMs)
      } catch (error) {
        if (wrong.size < 20) wrong.set(row.name, `${row.name}: ${(error as Error).message}`)
      }
      played++
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return { played, wrong: [...wrong.values()] }
}

/** `count` rows in an order that looks random and is always the same. */
export function* mixed(rows: readonly HostileRow[], count: number): Iterable<HostileRow> {
  let state = 42
  for (let n = 0; n < count; n++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    yield hostileAs(rows[state % rows.length]!, n)
  }
}

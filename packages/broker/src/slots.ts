import type { Outcome, Replies, Slot } from '@sluice/core'
import type { Core } from './core.ts'
import { staleEpoch } from './errors.ts'

export const settleSlots = (
  _core: Core,
  slots: readonly { at: number; receipt: Slot }[],
  _outcome: Outcome,
  failed: Replies['settle']['failed'][number][],
): boolean => {
  for (const { at } of slots) failed.push({ at, fault: staleEpoch() })
  return false
}

import type { Kind } from './model.ts'

/** Asking changes nothing: no answer means only that, and it may be asked again. Of all else nobody can say whether it was done. */
export const asking: ReadonlySet<Kind> = new Set<Kind>(['read', 'queryOffset', 'topic', 'group', 'members', 'assign'])

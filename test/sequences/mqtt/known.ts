/** Cases that fail now, by name, and why. */
export const known: ReadonlyMap<string, string> = new Map([])

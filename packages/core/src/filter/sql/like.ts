const ANY = 0
const ONE = 1
type Part = string | typeof ANY | typeof ONE

const SURROGATE = /[\ud800-\udfff]/

/**
 * `%`: any characters, `_`: one, everything else itself; `mark` takes the meaning from the next character.
 * Undefined: the escape character stands before nothing that it could take a meaning from.
 */
export const compileLike = (pattern: string, mark: string | undefined): ((text: string) => boolean) | undefined => {
  const parts: Part[] = []
  const characters = [...pattern]
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!
    if (character === mark) {
      const next = characters[++at]
      if (next !== '%' && next !== '_' && next !== mark) return undefined
      parts.push(next)
    } else if (character === '%') {
      if (parts.at(-1) !== ANY) parts.push(ANY)
    } else parts.push(character === '_' ? ONE : character)
  }
  return (text) => matches(parts, SURROGATE.test(text) ? [...text] : text)
}

/** One `%` is looked back to, the last: time is the product of both lengths at the worst, never more. */
const matches = (parts: readonly Part[], text: string | readonly string[]): boolean => {
  let part = 0
  let at = 0
  let star = -1
  let from = 0
  while (at < text.length) {
    const wanted = parts[part]
    if (wanted === ANY) {
      star = part++
      if (part === parts.length) return true
      from = at
    } else if (wanted === ONE || wanted === text[at]) {
      part++
      at++
    } else if (star >= 0) {
      part = star + 1
      at = ++from
    } else return false
  }
  while (parts[part] === ANY) part++
  return part === parts.length
}

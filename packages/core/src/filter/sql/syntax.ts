import type { Num } from './values.ts'

export type Comparison = '=' | '<>' | '<' | '<=' | '>' | '>='
export type Arithmetic = '+' | '-' | '*' | '/'
export type Search = 'CONTAINS' | 'STARTSWITH' | 'ENDSWITH'

/** An expression as it was understood. Chains are lists, so that only parentheses, NOT and signs nest. */
export type Node =
  | { readonly is: 'literal'; readonly value: string | Num | boolean }
  | { readonly is: 'name'; readonly name: string }
  | {
      readonly is: 'arithmetic'
      readonly first: Node
      readonly rest: readonly { readonly sign: Arithmetic; readonly node: Node }[]
    }
  | { readonly is: 'negative'; readonly node: Node }
  | Condition

export type Condition =
  | { readonly is: 'all' | 'any'; readonly nodes: readonly Node[] }
  | { readonly is: 'not'; readonly node: Node }
  | { readonly is: 'compare'; readonly sign: Comparison; readonly left: Node; readonly right: Node }
  | { readonly is: 'between'; readonly node: Node; readonly low: Node; readonly high: Node }
  | { readonly is: 'in'; readonly node: Node; readonly list: readonly (string | Num | boolean)[] }
  | { readonly is: 'null'; readonly node: Node }
  | { readonly is: 'like'; readonly node: Node; readonly pattern: string; readonly escape: string | undefined }
  | { readonly is: 'search'; readonly by: Search; readonly node: Node; readonly text: string }

/**
 * What the table in docs/grpc.md shows: behaviour × client. An agent plays the behaviours that it is given and says a line
 * of JSON each: {step, result: texts} | {step, missing: what its client has no word for} | {step, error}.
 * It uses the topic `<prefix>-<behaviour>` and the group `<prefix>-<behaviour>-g`.
 */
export interface Behaviour {
  /** As the table names it. */
  readonly title: string
  readonly result: readonly string[]
  /** Of its group, where it matters. */
  readonly group?: { readonly fifo?: boolean; readonly maxAttempts?: number }
  /** So many messages lie in the group's dead-letter topic afterwards. */
  readonly dead?: number
}

const numbers = (count: number): readonly string[] => Array.from({ length: count }, (_, n) => String(n))

export const behaviours = {
  normal: { title: 'send, receive, acknowledge', result: ['hello', 'blue', 'k1', 'red', '1'] },
  fifo: { title: 'ordered messages, simple consumer', result: numbers(6), group: { fifo: true } },
  delay: { title: 'delayed message', result: ['in time'] },
  recall: { title: 'recall of a delayed message', result: ['true', '0'] },
  priority: { title: 'priority', result: ['urgent', '3'] },
  transaction: { title: 'transaction: roll back, commit', result: ['commit'] },
  checkBack: { title: 'transaction: check-back', result: ['checked'] },
  tagFilter: { title: 'tag filter', result: ['blue', 'green'] },
  sqlFilter: { title: 'SQL filter', result: ['3', '4'] },
  changeInvisible: { title: 'change of the invisible time', result: ['1', '2'] },
  push: { title: 'push consumer', result: numbers(20) },
  pushFifo: {
    title: 'push consumer, ordered, a failure in between',
    result: ['0', '1', '2', '2', '3', '4', '5'],
    group: { fifo: true },
  },
  deadLetter: { title: 'retry to the dead-letter topic', result: ['1', '2'], group: { maxAttempts: 2 }, dead: 1 },
} as const satisfies Readonly<Record<string, Behaviour>>

export type BehaviourName = keyof typeof behaviours
export const behaviourNames = Object.keys(behaviours) as readonly BehaviourName[]

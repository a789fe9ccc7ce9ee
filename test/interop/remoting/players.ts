import { type Agent, startAgent } from './agent.ts'
import type { Feature } from './common.ts'

/** A client as it comes from its registry. */
export interface Player {
  readonly name: string
  start(options?: readonly string[]): Promise<Agent>
  /** What its API does not have. */
  readonly lacks: Partial<Record<Feature, string>>
}

const java = (release: string, lacks: Player['lacks']): Player => ({
  name: `rocketmq-client ${release}`,
  start: (options = []) => startAgent(options, release),
  lacks,
})

export const players: readonly Player[] = [
  java('5.5.0', {}),
  java('4.9.8', {
    pop: 'DefaultMQPushConsumer.setClientRebalance',
    recall: 'MQProducer.recallMessage',
  }),
]

import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { request } from '@sluice/remoting'
import { Agent, agentOf, type Listening, type Operation, out, type Sent, spawnAgent, startAgent } from './agent.ts'
import { ask, type Feature, must, until } from './common.ts'

const run = promisify(execFile)
const here = import.meta.dirname

/** A client as it comes from its registry. */
export interface Player {
  readonly name: string
  start(options?: readonly string[]): Promise<Agent>
  /** Two consumers of one process would be one to the broker. */
  readonly oneClientAProcess?: true
  /** It understands GO_AWAY. */
  readonly told?: true
  /** What its API does not have. */
  readonly lacks: Partial<Record<Feature, string>>
}

const java = (release: string, lacks: Player['lacks'], more: Pick<Player, 'told'>): Player => ({
  name: `rocketmq-client ${release}`,
  ...more,
  start: (options = []) => startAgent(options, release),
  lacks,
})

/** Built in a folder of its own, from the versions that go.sum pins. */
const go: Player = {
  name: 'rocketmq-client-go v2.1.2',
  async start() {
    const folder = `${out}-go`
    mkdirSync(folder, { recursive: true })
    for (const file of ['main.go', 'go.mod', 'go.sum'])
      copyFileSync(path.join(here, 'go', file), path.join(folder, file))
    await run('go', ['build', '-o', 'agent', '.'], { cwd: folder, timeout: 600_000 })
    return agentOf(folder, path.join(folder, 'agent'), [], folder)
  },
  lacks: {
    timer: 'delays in milliseconds',
    early: 'a consumer that starts before its topic: Start fails without a route',
    stats: 'statistics',
    binary: 'a switch for binary headers that is public',
    pop: 'a push consumer that pops',
    groups: 'administration of groups but for their list',
    lookup: 'queries of messages',
    probes: 'questions to consumers',
    recall: 'recall',
  },
}

const portOf = ({ nameserver }: Operation): number => Number(nameserver.split(':')[1])

const isKnown = async (fields: Operation): Promise<boolean> => {
  const { body } = await ask(portOf(fields), request.getConsumerConnectionList, { consumerGroup: String(fields.group) })
  return body?.toString().includes(`"topic":${JSON.stringify(fields.topic)}`) === true
}

/**
 * A client that gives up at a topic which does not exist: an operator would have made it. Its `subscribe` returns before the
 * broker knows of it, and nothing says when: an operator would look.
 */
class TopicFirst extends Agent {
  readonly #made = new Set<string>()

  override async produce(fields: Operation): Promise<readonly Sent[]> {
    await this.#make(fields)
    return super.produce(fields)
  }

  override async consume(fields: Operation): Promise<Listening> {
    await this.#make(fields)
    const listening = await super.consume(fields)
    must(await until(() => isKnown(fields), 10_000), () => `${fields.group} does not consume ${fields.topic}`)
    return listening
  }

  async #make(fields: Operation): Promise<void> {
    const { topic } = fields
    if (this.#made.has(topic) || topic.startsWith('%')) return
    this.#made.add(topic)
    const ext = {
      topic,
      defaultTopic: 'TBW102',
      readQueueNums: '4',
      writeQueueNums: '4',
      perm: '6',
      topicFilterType: 'SINGLE_TAG',
    }
    const { code, remark } = await ask(portOf(fields), request.updateAndCreateTopic, ext)
    if (code !== 0) throw new Error(`topic ${topic}: ${code} ${remark}`)
  }
}

const ONS = 'ali-ons@3.12.0'

/** Installed in a folder of its own. */
const node: Player = {
  name: ONS,
  oneClientAProcess: true,
  async start() {
    const folder = `${out}-node`
    mkdirSync(folder, { recursive: true })
    if (!existsSync(path.join(folder, 'package.json')))
      writeFileSync(path.join(folder, 'package.json'), '{"private":true}')
    if (!existsSync(path.join(folder, 'node_modules/ali-ons')))
      await run('npm', ['install', '--no-audit', '--no-fund', ONS], { cwd: folder, timeout: 600_000 })
    return new TopicFirst(spawnAgent(folder, process.execPath, [path.join(here, 'ons.ts'), folder]))
  },
  lacks: {
    timer: 'delays in milliseconds: its setStartDeliverTime sets what no release of RocketMQ reads',
    stats: 'statistics',
    // topic_publish_info.js looks for another broker than that of the try before, and finds none of a single one.
    drain: 'a second try of a send: one that meets the end of a connection is lost to it',
    modes: 'oneway and batch sends',
    binary: 'binary headers',
    ordered: 'ordered consumers',
    transaction: 'a transaction producer',
    request: 'request and reply',
    litePull: 'a lite pull consumer',
    pop: 'a push consumer that pops',
    topics: 'administration',
    groups: 'administration',
    lookup: 'queries of messages',
    probes: 'questions to consumers',
    recall: 'recall',
  },
}

export const players: readonly Player[] = [
  java('5.5.0', {}, { told: true }),
  java(
    '4.9.8',
    {
      timer: 'Message.setDelayTimeMs',
      pop: 'DefaultMQPushConsumer.setClientRebalance',
      recall: 'MQProducer.recallMessage',
    },
    {},
  ),
  go,
  node,
]

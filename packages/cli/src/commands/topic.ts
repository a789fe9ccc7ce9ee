import type { TopicInfo, TopicSpec } from '@sluice/core'
import { call, type Target } from '../api.ts'

const PATIENCE = 10_000

const path = ({ admin }: Target, topic?: string): string =>
  `${admin}/v1/topics${topic === undefined ? '' : `/${encodeURIComponent(topic)}`}`

const print = (json: boolean | undefined, value: unknown, text: string): void =>
  void process.stdout.write(json ? `${JSON.stringify(value)}\n` : text)

const line = ({ topic, queues, type }: TopicSpec): string => `${topic}\t${queues} queues\t${type}\n`

export interface TopicFlags {
  readonly json?: boolean
}

export const listTopics = async (target: Target, { json }: TopicFlags): Promise<void> => {
  const reply = (await call(path(target), { timeoutMs: PATIENCE })) as { topics: readonly TopicSpec[] }
  print(json, reply, reply.topics.map(line).join(''))
}

export const createTopic = async (
  target: Target,
  topic: string,
  { json, queues, type }: TopicFlags & { queues: number; type: string },
): Promise<void> => {
  const spec = (await call(path(target, topic), {
    method: 'PUT',
    body: JSON.stringify({ queues, type }),
    timeoutMs: PATIENCE,
  })) as TopicSpec
  print(json, spec, `created ${line(spec)}`)
}

export const describeTopic = async (target: Target, topic: string, { json }: TopicFlags): Promise<void> => {
  const info = (await call(path(target, topic), { timeoutMs: PATIENCE })) as TopicInfo
  const routes = info.routes.map(({ queue, number }) => `  queue ${number}\t${queue.node}/${queue.index}\n`)
  print(json, info, line(info) + routes.join(''))
}

export const deleteTopic = async (target: Target, topic: string, { json }: TopicFlags): Promise<void> => {
  const reply = await call(path(target, topic), { method: 'DELETE', timeoutMs: PATIENCE })
  print(json, reply, `deleted ${topic}\n`)
}

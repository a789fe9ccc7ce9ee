import { type AdminResults, type CommandOf, Fault, type GroupInfo, type Replies } from '@sluice/core'
import type { Core } from './core.ts'
import { groupNotFound, topicNotFound, unsupported } from './errors.ts'
import { writeGroup, writeGroupDeleted, writeOffset, writeTopicDeleted } from './events.ts'
import { offsetOf } from './offsets.ts'
import { wakeNext } from './popWake.ts'
import { refusal } from './publish.ts'
import { createTopic, topicOf } from './topicCommands.ts'
import { checkGroupName } from './topics.ts'

type Action<D> = Extract<CommandOf<'admin'>['action'], { do: D }>

const putTopics = async (core: Core, { topics }: Action<'putTopics'>): Promise<AdminResults['putTopics']> => {
  const failed: { at: number; fault: Fault }[] = []
  topics.forEach((spec, at) => {
    try {
      const known = core.state.topics.get(spec.topic)
      if (known && spec.queues < known.queues.length)
        throw new Fault(
          'invalid',
          `topic ${spec.topic} has ${known.queues.length} queues, and they are not taken away`,
          { about: 'queues' },
        )
      createTopic(core, spec)
    } catch (error) {
      failed.push({ at, fault: refusal(error) })
    }
  })
  await core.log.done()
  return { failed }
}

const deleteTopic = async (core: Core, { topic }: Action<'deleteTopic'>): Promise<{}> => {
  const found = core.state.topics.get(topic)
  if (!found) throw topicNotFound(topic)
  core.log.append(writeTopicDeleted(topic))
  core.state.deleteTopic(topic)
  found.deleted = true
  // Who waits for it is told at its next turn.
  for (const { readers } of found.queues) readers?.wake()
  found.waiting.wake()
  await core.log.done()
  return {}
}

const putGroup = async (core: Core, { spec }: Action<'putGroup'>): Promise<{}> => {
  checkGroupName(spec.group)
  if (spec.maxAttempts < 1 || !Number.isInteger(spec.maxAttempts))
    throw new Fault('invalid', 'a group has at least one attempt', { about: 'maxAttempts' })
  if (spec.lite) throw unsupported('a lite group', 'group')
  const group = core.state.group(spec.group)
  core.log.append(writeGroup(spec))
  group.spec = spec
  group.explicit = true
  await core.log.done()
  return {}
}

const deleteGroup = async (core: Core, { group }: Action<'deleteGroup'>): Promise<{}> => {
  const found = core.state.groups.get(group)
  if (!found) throw groupNotFound(group)
  core.log.append(writeGroupDeleted(group))
  core.state.groups.delete(group)
  for (const { parked } of found.topics.values()) parked.wake()
  await core.log.done()
  return {}
}

const resetOffset = async (core: Core, action: Action<'resetOffset'>): Promise<AdminResults['resetOffset']> => {
  const topic = topicOf(core, action.topic)
  const { queue: only } = action
  const queues = only && only.index >= 0 ? topic.queues.filter(({ queue }) => queue.index === only.index) : topic.queues
  if (queues.length === 0) throw new Fault('invalid', `no queue ${only?.index}`, { about: 'queue' })
  const offsets = await Promise.all(
    queues.map(async (queue) => {
      const offset = await offsetOf(core, queue, action.to)
      return { queue, offset: Math.min(Math.max(offset, queue.records.min), queue.visible) }
    }),
  )
  const groupTopic = core.state.group(action.group).topic(action.topic)
  for (const { queue, offset } of offsets) {
    const { index } = queue.queue
    core.log.append(writeOffset({ group: action.group, topic: action.topic, queue: index }, offset, true))
    groupTopic.cursor(index).reset(offset)
  }
  wakeNext(groupTopic)
  await core.log.done()
  const told = offsets.map(({ queue, offset }) => ({ queue: queue.queue, offset }))
  const notice = { kind: 'resetOffset', group: action.group, topic: action.topic, offsets: told } as const
  void core.notify({ group: action.group, role: 'consumes', one: false }, notice).catch(() => undefined)
  return { offsets: told }
}

export const admin = async (core: Core, { action }: CommandOf<'admin'>): Promise<Replies['admin']> => {
  const { state, settings } = core
  switch (action.do) {
    case 'putTopics':
      return putTopics(core, action)
    case 'deleteTopic':
      return deleteTopic(core, action)
    case 'listTopics':
      return { topics: [...state.topics.values()].map(({ spec }) => spec) }
    case 'putGroup':
      return putGroup(core, action)
    case 'deleteGroup':
      return deleteGroup(core, action)
    case 'listGroups':
      return { groups: [...state.groups.values()].map(({ spec }) => spec) }
    case 'resetOffset':
      return resetOffset(core, action)
    case 'nodes':
      return { nodes: [{ node: settings.node, address: settings.address, cluster: settings.cluster }] }
    default:
      throw unsupported(`admin ${action.do}`)
  }
}

/** Known, or as it will be made at its first use. */
export const group = async (core: Core, { group: name, progress }: CommandOf<'group'>): Promise<Replies['group']> => {
  const found = core.state.group(name)
  if (!progress) return found.spec
  const list: NonNullable<GroupInfo['progress']>[number][] = []
  for (const [topicName, groupTopic] of found.topics) {
    if (progress.topic !== undefined && progress.topic !== topicName) continue
    for (const queue of core.state.topics.get(topicName)?.queues ?? []) {
      const cursor = groupTopic.cursors.get(queue.queue.index)
      if (!cursor || cursor.floor < 0) continue
      list.push({ queue: queue.queue, committed: cursor.floor, max: queue.visible, leased: cursor.held.size })
    }
  }
  return { ...found.spec, progress: list }
}

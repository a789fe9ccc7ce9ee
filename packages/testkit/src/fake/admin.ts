import {
  type AdminAction,
  Fault,
  type GroupSpec,
  type Member,
  type Membership,
  type Replies,
  type Session,
} from '@sluice/core'
import { type Log, NODE } from './log.ts'
import type { Pool } from './pools.ts'

/** What an administrator may touch. */
export interface Administered {
  readonly log: Log
  readonly groups: Map<string, GroupSpec>
  /** By topic, by group. */
  readonly pools: Map<string, Map<string, Pool>>
}

/** @throws Fault 'topicNotFound', 'groupNotFound', 'unsupported' */
export const administer = (action: AdminAction, { log, groups, pools }: Administered): Replies['admin'] => {
  switch (action.do) {
    case 'putTopics':
      for (const spec of action.topics) log.put(spec)
      return { failed: [] }
    case 'deleteTopic':
      pools.delete(action.topic)
      if (!log.delete(action.topic)) throw new Fault('topicNotFound', 'no such topic', { about: 'topic' })
      return {}
    case 'listTopics':
      return { topics: log.list() }
    case 'putGroup':
      groups.set(action.spec.group, action.spec)
      return {}
    case 'deleteGroup':
      if (!groups.delete(action.group)) throw new Fault('groupNotFound', 'no such group', { about: 'group' })
      for (const ofTopic of pools.values()) ofTopic.delete(action.group)
      return {}
    case 'listGroups':
      return { groups: [...groups.values()] }
    case 'nodes':
      return { nodes: [{ node: NODE, address: '127.0.0.1:0', cluster: NODE }] }
    default:
      throw new Fault('unsupported', `the memory backend knows no ${action.do}`)
  }
}

export const groupsOf = ({ produces, consumes }: Membership): readonly string[] => [
  ...produces,
  ...consumes.map(({ group }) => group),
]
export const memberOf = (session: Session, member: Membership, seenAt: number): Member => ({
  client: session.client,
  session: session.id,
  protocol: session.protocol,
  language: session.language,
  version: session.version,
  address: session.remoteAddress,
  seenAt,
  member,
})

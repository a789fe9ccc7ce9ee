import { Fault } from '@sluice/core'

export const topicNotFound = (topic: string) =>
  new Fault('topicNotFound', `topic ${topic.slice(0, 255)} does not exist`, { about: 'topic' })
export const groupNotFound = (group: string) =>
  new Fault('groupNotFound', `group ${group.slice(0, 255)} does not exist`, { about: 'group' })
export const receiptExpired = () =>
  new Fault('receiptExpired', 'receipt does not hold its message any more', { about: 'receipt' })
export const staleEpoch = () => new Fault('conflict', 'the inbox was opened anew', { about: 'epoch' })
export const unsupported = (what: string, about?: string) =>
  new Fault('unsupported', `${what} is not supported`, about === undefined ? {} : { about })
export const noInbox = (inbox: string) =>
  new Fault('notFound', `inbox ${inbox.slice(0, 255)} is not open`, { about: 'inbox' })

import { joinPath, type Message, names } from '@sluice/core'
import { PropertyView, scanProperties, system } from '@sluice/remoting'

/** What the broker must know of a record to index it. The same from a message and from its record. */
export interface Facts {
  readonly tag: string | undefined
  readonly expires: boolean
  readonly retain: boolean
  readonly path: string | undefined
}

export const factsOf = (message: Message): Facts =>
  message.packed
    ? factsOfPacked(message.packed)
    : {
        tag: message.tag,
        expires: message.expiresAt !== undefined,
        retain: message.retain === true,
        path: message.path,
      }

export const factsOfPacked = (packed: Buffer): Facts => {
  let tag: string | undefined
  let expires = false
  let retain = false
  let path: string | undefined
  let more = false
  scanProperties(packed, (name, from, to) => {
    if (name === system.tag) tag = packed.toString('utf8', from, to)
    else if (name === names.expiresAt) expires = true
    else if (name === names.retain) retain = packed.toString('utf8', from, to) === 'true'
    else if (name === names.path) path = packed.toString('utf8', from, to)
    else if (name === names.more) more = true
  })
  if (more) {
    const view = new PropertyView(packed)
    return { tag: view.tag, expires: view.expiresAt !== undefined, retain, path: view.path }
  }
  const slash = path === undefined ? -1 : path.indexOf('/')
  return { tag, expires, retain, path: slash < 0 ? undefined : path!.slice(slash + 1) }
}

export const fullTopic = (topic: string, facts: Facts): string => joinPath(topic, facts.path)

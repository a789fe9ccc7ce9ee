import type { TopicInfo } from '@sluice/core'

/** Remoting clients see one broker: its queues are the topic's queues of all nodes, numbered from 0 without a gap. */
export const BROKER = 'sluice'
export const CLUSTER = 'sluice'

const READ = 4
const WRITE = 2

const brokerData = (address: string): string =>
  `{"brokerAddrs":{"0":${JSON.stringify(address)}},"brokerName":"${BROKER}","cluster":"${CLUSTER}","enableActingMaster":false}`

/**
 * The answer to GET_ROUTEINFO_BY_TOPIC (105). Written by hand: one client reads brokerAddrs by splitting its text, so
 * there is no blank in it, the only id is 0, and its key is quoted.
 */
export const routeJson = (address: string, queues: { readonly read: number; readonly write: number }): Buffer => {
  const perm = (queues.read > 0 ? READ : 0) | (queues.write > 0 ? WRITE : 0)
  return Buffer.from(
    `{"brokerDatas":[${brokerData(address)}],"filterServerTable":{},"queueDatas":[{"brokerName":"${BROKER}","perm":${perm},"readQueueNums":${queues.read},"topicSysFlag":0,"writeQueueNums":${queues.write}}]}`,
  )
}

/** Clients know queues by a count alone, so what stands between two queues of a kind counts with them. */
export const countQueues = ({ routes }: TopicInfo): { readonly read: number; readonly write: number } => {
  let read = 0
  let write = 0
  for (const { number, readable, writable } of routes) {
    if (readable) read = Math.max(read, number + 1)
    if (writable) write = Math.max(write, number + 1)
  }
  return { read, write }
}

/** The answer to GET_BROKER_CLUSTER_INFO (106). */
export const clusterJson = (address: string): Buffer =>
  Buffer.from(
    `{"brokerAddrTable":{"${BROKER}":${brokerData(address)}},"clusterAddrTable":{"${CLUSTER}":["${BROKER}"]}}`,
  )

export const hostPort = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

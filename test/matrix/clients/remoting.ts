import { names } from '@sluice/core'
import { type Agent, type Heard, startAgent } from '../../interop/remoting/agent.ts'
import type { MatrixClient, Target } from '../client.ts'
import type { Received, Sample } from '../samples.ts'

const address = ({ host, port }: Target): string => `${host}:${port}`

/** What RocketMQ keeps among the properties for itself. */
const system =
  /^(UNIQ_KEY|TAGS|KEYS|WAIT|CLUSTER|MIN_OFFSET|MAX_OFFSET|CONSUME_START_TIME|TRACE_ON|MSG_REGION|INSTANCE_ID|__\w+)$/

const received = (topic: string, heard: Heard): Received => {
  const own = Object.fromEntries(Object.entries(heard.properties).filter(([name]) => !system.test(name)))
  const {
    [names.path]: full,
    [names.contentType]: contentType,
    [names.via]: _via,
    [names.bornHost]: _host,
    ...properties
  } = own
  return {
    body: Buffer.from(heard.body, 'base64'),
    ...(heard.tag !== undefined && { tag: heard.tag }),
    ...(heard.keys !== undefined && { keys: heard.keys.split(' ') }),
    ...(full !== undefined && { path: full.slice(topic.length + 1) }),
    ...(contentType !== undefined && { contentType }),
    properties,
    id: heard.msgId,
    attempt: heard.reconsumeTimes + 1,
  }
}

const message = (sample: Sample) => ({
  body: sample.body.toString('base64'),
  tag: sample.tag,
  keys: sample.keys.join(' '),
  properties: sample.properties,
})

/** The Java client, one JVM for all cells. Its connections belong to the JVM and stay until its end. */
export const remoting = (): MatrixClient => {
  let starting: Promise<Agent> | undefined
  const agent = () => (starting ??= startAgent())
  return {
    name: 'remoting',
    column: 'remoting',
    refusesEmpty: true,
    keepsOrder: false,
    givesId: true,
    wantsTopicFirst: true,
    async producer(target, topic) {
      const jvm = await agent()
      const where = { nameserver: address(target), tls: target.tls, group: 'matrix-producers', topic, mode: 'async' }
      return {
        async send(samples) {
          const results = await jvm.produce({ ...where, messages: samples.map(message) })
          const bad = results.find(({ status }) => status !== 'SEND_OK')
          if (bad) throw new Error(`produce: ${JSON.stringify(bad)}`)
        },
        async sendEmpty() {
          const [result] = await jvm.produce({ ...where, mode: 'sync', messages: [{ body: '' }] })
          return result?.error === undefined
        },
        async close() {},
      }
    },
    async consumer(target, topic, group) {
      const jvm = await agent()
      const listening = await jvm.consume({
        nameserver: address(target),
        tls: target.tls,
        topic,
        group,
        from: 'first',
      })
      return {
        get received() {
          return listening.heard.map((heard) => received(topic, heard))
        },
        wait: async (count, ms) => void (await listening.has(count, ms)),
        close: () => listening.stop(),
      }
    },
    async close() {
      await (await starting)?.close()
    },
  }
}

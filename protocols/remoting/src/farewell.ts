import { response, version } from '@sluice/remoting'
import { closeYourself, type Frame } from './codec.ts'

/** Who is sent away, as its last request said. */
export interface Client {
  readonly language: string
  readonly version: number
}

/** It asks anew elsewhere when its request is answered GO_AWAY. */
export const knowsGoAway = ({ language, version: its }: Client): boolean => language === 'JAVA' && its >= version.goAway

/**
 * What pulls that wait are answered when their connection ends. At 19 a client asks again at once, and faster than it
 * sees the end: that request is lost. Java clients that know FLOW_CONTROL wait 20 ms, which is enough. Go's waits for 3 s
 * at whatever it does not know; for an answer that never comes it waits for 30.
 * Source: apache/rocketmq DefaultMQPushConsumerImpl.java, rocketmq-client-go push_consumer.go.
 */
export const lastPullAnswer = ({ language, version: its }: Client): number => {
  if (language === 'GO') return response.systemBusy
  return language === 'JAVA' && knowsFlowControl(its) ? response.flowControl : response.pullNotFound
}

/** 4.9.8, and from 5.1.0 on. */
const knowsFlowControl = (its: number): boolean => its >= 433 || (its >= 409 && its < 413)

/** Also ali-ons, which says JAVA: it reads this together with its last answer, before it has sent anything more. */
export const lastWord = ({ language }: Client): Frame | undefined => (language === 'JAVA' ? closeYourself : undefined)

import type { Protocol } from '@sluice/core'
import { detect } from './detect.ts'
import { createHouse } from './house.ts'
import { checkMqttOptions, type MqttOptions, toSettings } from './options.ts'
import { startServer } from './server.ts'

export type { MqttOptions }

/** MQTT 3.1.1 and 5.0. Sessions live in the broker as inboxes; what is published goes to the topic of its first level. */
export const mqtt = (given: MqttOptions = {}): Protocol => {
  const options = checkMqttOptions(given)
  return {
    api: 1,
    name: 'mqtt',
    detect,
    start: (gateway) => startServer(gateway, createHouse(gateway, toSettings(options, gateway.limits))),
  }
}

export default mqtt

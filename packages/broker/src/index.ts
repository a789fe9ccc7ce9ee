export { type Broker, type BrokerOptions, type BrokerStats, openBroker } from './broker.ts'
export { type FileLayer, type OpenFile, realFiles } from './files.ts'
export { defaultAttempts, defaultBackoff } from './groups.ts'
export { type Bounds, defaultBounds } from './state.ts'

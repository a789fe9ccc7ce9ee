import type { BytesReader } from './bytes.ts'
import type { State } from './state.ts'

export const replayInbox = (_state: State, _kind: number, _body: BytesReader): void => undefined

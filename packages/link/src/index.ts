/** A backend in another process: the command model over one socket. */
export type { RecordCounts } from './records.ts'

export * from './drain.ts'

export * from './codes.ts'
export * from './frame.ts'

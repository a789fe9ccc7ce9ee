import { inflate, type StoredMessage } from '@sluice/core'

/** The body as this wire can say it: gzip as it is, other encodings undone. */
export const plainBody = (message: StoredMessage): { readonly body: Buffer; readonly gzip: boolean } =>
  message.encoding === 'gzip' ? { body: message.body, gzip: true } : { body: inflate(message).body, gzip: false }

import { randomBytes } from 'node:crypto'

/** The client's own `X-Request-Id` where it is a plain word of up to 64 characters, else one unique over processes. */
export const requestIds = (): ((given?: string | string[]) => string) => {
  const process = randomBytes(6).toString('base64url')
  let counter = 0
  return (given) =>
    typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : `${process}-${(++counter).toString(36)}`
}

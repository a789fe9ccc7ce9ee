import type { Credentials } from '@sluice/core'
import { type Frame, version } from '@sluice/remoting'

/**
 * What an ACL hook signed: the values of all fields but the signature, by name in code-unit order, then the body.
 * Source: apache/rocketmq AclClientRPCHook.java, AclUtils.java
 */
export const signedContent = (frame: Frame): Buffer => {
  const { ext, body } = frame
  const names = Object.keys(ext).filter(
    (name) => name !== 'Signature' && (name !== '_UNIQUE_KEY_QUERY' || frame.version > version.unsignedUniqueKey),
  )
  const values = Buffer.from(
    names
      .sort()
      .map((name) => ext[name])
      .join(''),
  )
  return body ? Buffer.concat([values, body]) : values
}

/** Whether it names somebody. The C++ client sends empty fields when it has no credentials. */
export const isSigned = ({ ext }: Frame): boolean => !!ext.AccessKey

/** Undefined: the client names nobody. */
export const signerOf = (frame: Frame): Pick<Credentials, 'user' | 'signed'> | undefined => {
  const { AccessKey: user, Signature: signature } = frame.ext
  if (!user) return undefined
  return {
    user,
    signed: {
      algorithm: 'hmac-sha1',
      content: signedContent(frame),
      digest: Buffer.from(signature ?? '', 'base64'),
    },
  }
}

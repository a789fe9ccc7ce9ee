import { isUtf8 } from 'node:buffer'

const MARK = 'base64:'

/**
 * Correlation data are bytes here and text everywhere else. Text stays text; anything else becomes `base64:` and base64,
 * which another protocol copies into its answer and which comes back as the bytes it was.
 */
export const toText = (data: Buffer): string => {
  if (isUtf8(data) && !data.includes(0)) {
    const text = data.toString()
    if (!text.startsWith(MARK)) return text
  }
  return MARK + data.toString('base64')
}

export const toData = (text: string): Buffer => {
  if (text.startsWith(MARK)) {
    const data = Buffer.from(text.slice(MARK.length), 'base64')
    if (MARK + data.toString('base64') === text) return data
  }
  return Buffer.from(text)
}

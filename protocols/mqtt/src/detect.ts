const NAMES = [Buffer.from('\0\x04MQTT'), Buffer.from('\0\x06MQIsdp')]

/** CONNECT (0x10) · remaining length of 1 to 4 bytes · protocol name: ours, not ours, or too few bytes to say. */
export const detect = (head: Buffer): boolean | undefined => {
  if (head.length === 0) return undefined
  if (head[0] !== 0x10) return false
  let at = 1
  while (head[at]! & 0x80) if (++at > 4) return false
  if (++at > head.length) return undefined
  const rest = head.subarray(at)
  let open = false
  for (const name of NAMES) {
    const length = Math.min(rest.length, name.length)
    if (name.compare(rest, 0, length, 0, length) !== 0) continue
    if (length === name.length) return true
    open = true
  }
  return open ? undefined : false
}

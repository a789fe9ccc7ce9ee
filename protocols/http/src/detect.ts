/** RFC 9110 §9 and PATCH (RFC 5789): the only first words of a request that are looked for. */
const methods = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'TRACE'].map((name) =>
  Buffer.from(`${name} `, 'latin1'),
)

/** HTTP/1.x by its method. `PRI * HTTP/2.0` is another protocol's. */
export const detect = (head: Buffer): boolean | undefined => {
  let open = false
  for (const method of methods) {
    const length = Math.min(head.length, method.length)
    if (method.compare(head, 0, length, 0, length) !== 0) continue
    if (length === method.length) return true
    open = true
  }
  return open ? undefined : false
}

/** A backend in another process: the command model over one socket. */
export const LINK_VERSION = 1

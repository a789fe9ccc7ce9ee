import type { Duplex } from 'node:stream'

function destroy(this: Duplex): void {
  this.destroy()
}

/** A reset is an end like another. One listener for all sockets, and one on each however many ask for it. */
export const destroyOnError = (socket: Duplex): void => {
  if (!socket.rawListeners('error').includes(destroy)) socket.on('error', destroy)
}

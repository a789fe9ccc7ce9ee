export type SignalListener = ((event: unknown) => void) | { handleEvent(): void }

/**
 * As much of an AbortSignal as a poll asks of one. Every client that waits for messages has one, and a real one that is
 * listened to takes 700 bytes.
 */
export interface Signal {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: SignalListener, options?: { readonly once?: boolean }): void
  removeEventListener(type: 'abort', listener: SignalListener): void
}

const tell = (listener: SignalListener): void => {
  if (typeof listener === 'function') listener(undefined)
  else listener.handleEvent()
}

/** A signal and what gives it. Listeners must not throw; each is told once, at the abort. */
export class Abort implements Signal {
  aborted = false
  /** Nearly always one. */
  #listeners: SignalListener | SignalListener[] | undefined

  addEventListener(_type: 'abort', listener: SignalListener): void {
    const known = this.#listeners
    if (this.aborted || known === listener) return
    if (known === undefined) this.#listeners = listener
    else if (!Array.isArray(known)) this.#listeners = [known, listener]
    else if (!known.includes(listener)) known.push(listener)
  }

  removeEventListener(_type: 'abort', listener: SignalListener): void {
    const known = this.#listeners
    if (known === listener) this.#listeners = undefined
    else if (Array.isArray(known)) this.#listeners = known.filter((one) => one !== listener)
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    const told = this.#listeners
    this.#listeners = undefined
    if (told === undefined) return
    for (const listener of Array.isArray(told) ? told : [told]) tell(listener)
  }
}

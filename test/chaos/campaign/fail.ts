export const fail = (text: string): never => {
  throw new Error(text)
}

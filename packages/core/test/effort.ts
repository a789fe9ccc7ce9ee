/** CPU time that a run takes, ms: on a busy machine the clock on the wall says little. */
export const effort = async (run: () => unknown): Promise<number> => {
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

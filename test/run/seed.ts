import fc from 'fast-check'

/**
 * Properties meet the same cases in every run, so that a red one is the change's doing.
 * `SLUICE_SEED=random` looks further, with `SLUICE_RUNS` as far as wanted; a number repeats a run.
 */
const wanted = process.env.SLUICE_SEED ?? '20261124'
if (wanted !== 'random') fc.configureGlobal({ seed: Number(wanted) })

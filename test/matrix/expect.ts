import assert from 'node:assert/strict'
import { conversions, type Field } from '@sluice/core'
import type { MatrixClient } from './client.ts'
import type { Received, Sample } from './samples.ts'

const travels = (field: Field, to: MatrixClient): boolean => conversions[field][to.column].lost === undefined

/**
 * What a consumer must show of a sample, field by field as the conversion table says: what travels is equal, what does
 * not is absent.
 */
export const assertReceived = (sample: Sample, got: Received, from: MatrixClient, to: MatrixClient): void => {
  const where = `${from.name} → ${to.name}, message ${sample.n}`
  assert.ok(got.body.equals(sample.body), `${where}: body of ${sample.body.length} bytes came as ${got.body.length}`)
  assert.equal(got.tag, travels('tag', to) ? sample.tag : undefined, `${where}: tag`)
  assert.deepEqual(got.keys, travels('keys', to) ? sample.keys : undefined, `${where}: keys`)
  assert.equal(got.path, travels('path', to) ? from.path : undefined, `${where}: path`)
  assert.equal(got.contentType, travels('contentType', to) ? from.contentType : undefined, `${where}: content type`)
  assert.deepEqual(got.properties ?? {}, travels('properties', to) ? sample.properties : {}, `${where}: properties`)
  if (from.keepsOrder && to.keepsOrder) {
    assert.deepEqual(Object.keys(got.properties ?? {}), Object.keys(sample.properties), `${where}: order of properties`)
  }
  if (from.givesId) assert.equal(got.id !== undefined, travels('id', to), `${where}: id`)
}

/** Every sample once, none twice, each as it should be. */
export const assertAll = (
  samples: readonly Sample[],
  received: readonly Received[],
  from: MatrixClient,
  to: MatrixClient,
): void => {
  const byNumber = new Map<string, Received[]>()
  for (const one of received) {
    const n = one.properties?.n ?? '?'
    byNumber.set(n, [...(byNumber.get(n) ?? []), one])
  }
  const lost = samples.filter(({ n }) => !byNumber.has(String(n)))
  const twice = [...byNumber].filter(([, all]) => all.length > 1)
  assert.equal(lost.length, 0, `${from.name} → ${to.name}: lost ${lost.length}, first ${lost[0]?.n}`)
  assert.equal(twice.length, 0, `${from.name} → ${to.name}: twice ${twice.length}, first ${twice[0]?.[0]}`)
  assert.equal(received.length, samples.length, `${from.name} → ${to.name}: count`)
  for (const sample of samples) assertReceived(sample, byNumber.get(String(sample.n))![0]!, from, to)
}

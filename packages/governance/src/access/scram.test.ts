import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { scramKeys, verifyScram } from './scram.ts'

const users = { ann: scramKeys('pencil'), 'b,=b': scramKeys('secret') }
const lookup = async (user: string) => users[user as 'ann']
const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** The client's side of RFC 5802. */
const scramClient = (user: string, password: string) => {
  const bare = `n=${user.replace(/=/g, '=3D').replace(/,/g, '=2C')},r=rOprNGfwEbeRWgbNEkqO`
  let expected = ''
  return {
    first: Buffer.from(`n,,${bare}`),
    answer(challenge: Buffer): Buffer {
      const found = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge.toString())!
      const salted = pbkdf2Sync(password, Buffer.from(found[2]!, 'base64'), Number(found[3]), 32, 'sha256')
      const clientKey = hmac(salted, 'Client Key')
      const unproven = `c=biws,r=${found[1]}`
      const signed = `${bare},${challenge},${unproven}`
      const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
      expected = `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`
      return Buffer.from(
        `${unproven},p=${Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!)).toString('base64')}`,
      )
    },
    trusts: (last: Buffer | undefined) => last?.toString() === expected,
  }
}

const login = async (user: string, password: string, spoil = (answer: string) => answer) => {
  const client = scramClient(user, password)
  const heard: Buffer[] = []
  const exchange = async (said: Buffer) =>
    heard.push(said) > 1 ? Buffer.alloc(0) : Buffer.from(spoil(client.answer(said).toString()))
  const name = await verifyScram({ secret: client.first, exchange }, lookup)
  return { name, isTrusted: client.trusts(heard[1]) }
}
const refused = { code: 'unauthenticated' }

describe('SCRAM-SHA-256', () => {
  it('keeps what RFC 7677 keeps of its example', () => {
    const keys = scramKeys('pencil', { salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), iterations: 4096 })
    const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
    const signed = `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=${nonce}`
    expect(hmac(keys.serverKey, signed).toString('base64')).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
    const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64')
    const clientKey = Buffer.from(hmac(keys.storedKey, signed).map((byte, at) => byte ^ proof[at]!))
    expect(createHash('sha256').update(clientKey).digest()).toEqual(keys.storedKey)
  })

  it.each([
    ['ann', 'pencil'],
    ['b,=b', 'secret'],
  ])('lets %s in, and proves the server', async (user, password) => {
    expect(await login(user, password)).toEqual({ name: user, isTrusted: true })
  })

  it('refuses a wrong password and an unknown user alike', async () => {
    await expect(login('ann', 'wrong')).rejects.toMatchObject(refused)
    await expect(login('eve', 'pencil')).rejects.toMatchObject(refused)
  })

  it.each(['', 'n,,', 'p=tls-unique,,n=ann,r=x', 'n,a=eve,n=ann,r=x', 'y,,n=ann', 'x'.repeat(5_000)])(
    'refuses %s, and asks nothing',
    async (first) => {
      const exchange = () => Promise.reject(new Error('asked'))
      await expect(verifyScram({ secret: Buffer.from(first), exchange }, lookup)).rejects.toMatchObject(refused)
    },
  )

  it.each([
    ['another nonce', (text: string) => text.replace('r=rOpr', 'r=xOpr')],
    ['another binding', (text: string) => text.replace('c=biws', 'c=eSws')],
    ['half an answer', () => 'c=biws'],
    ['a proof that is longer', (text: string) => `${text}AAAA`],
    ['an answer without end', (text: string) => text + 'A'.repeat(5_000)],
  ])('refuses %s', async (_, spoil) => {
    await expect(login('ann', 'pencil', spoil)).rejects.toMatchObject(refused)
  })

  it('refuses a protocol that cannot ask', async () => {
    await expect(verifyScram({ secret: Buffer.from('n,,n=ann,r=x') }, lookup)).rejects.toMatchObject(refused)
  })
})

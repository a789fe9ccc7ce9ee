/** Cases that fail now, by name, and why. */
export const known: ReadonlyMap<string, string> = new Map([
  [
    '5.0: a refusal keeps within the client’s packets',
    'a refusing CONNACK has its reason string whatever the client’s maximum packet size',
  ],
  ['5.0: DISCONNECT keeps within the client’s packets', 'so has DISCONNECT'],
  [
    '5.0: a QoS 1 message that was sent is finished though it expired',
    'the broker drops what expired while its client was away, sent or not',
  ],
  ['5.0: a QoS 2 message that was sent is finished though it expired', 'the same'],
])

// Signs with the npm package http-message-signatures, and sends with fetch, in Node.
//
// node library.mjs KEY.pem PUBLISHABLE_KEY URL JSON
import { createHash, createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import signatures from 'http-message-signatures';

const [key, publishableKey, url, json] = process.argv.slice(2);
const signer = signatures.createSigner(createPrivateKey(readFileSync(key)), 'ed25519', publishableKey);

async function send(method, headers, body) {
  const fields = ['@method', '@authority', '@path', '@query'];
  const present = ['content-type', 'content-encoding', 'authorization', 'idempotency-key'];
  fields.push(...present.filter((name) => name in headers));
  if (body) {
    const digest = createHash('sha256').update(body).digest('base64');
    headers = { ...headers, 'content-digest': `sha-256=:${digest}:` };
    fields.push('content-digest');
  }
  const config = {
    key: signer,
    fields,
    // Without this list the library adds no nonce and no tag.
    params: ['created', 'nonce', 'keyid', 'alg', 'tag'],
    paramValues: { nonce: randomBytes(16).toString('base64url'), tag: 'countersign' },
  };
  const signed = await signatures.httpbis.signMessage(config, { method, url, headers });
  // A redirect would carry the signature on: sign a new request for where it leads, if you trust that.
  return fetch(url, { method, headers: signed.headers, body, redirect: 'manual' });
}

for (const response of [
  await send('POST', { 'content-type': 'application/json' }, json),
  await send('GET', {}),
]) {
  console.log(response.status, await response.text());
}

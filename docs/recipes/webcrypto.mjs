// Signs with WebCrypto and sends with fetch: no library, in browsers and in Node alike.
//
// node webcrypto.mjs KEY.pem PUBLISHABLE_KEY URL JSON

// Node before 20 has it in a module alone.
const crypto = globalThis.crypto ?? (await import('node:crypto')).webcrypto;
const text = new TextEncoder();
const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));

/** The key of a PKCS#8 PEM. In a browser, better generate one that nobody can export, and keep it in IndexedDB. */
export async function importKey(pem) {
  const der = atob(pem.replace(/-----[^-]+-----|\s/g, ''));
  const bytes = Uint8Array.from(der, (character) => character.charCodeAt(0));
  return crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', false, ['sign']);
}

/** Like fetch, and signed. The body is a string or bytes. */
export async function signedFetch(key, publishableKey, url, { method = 'GET', headers = {}, body } = {}) {
  const { host, pathname, search } = new URL(url);
  const components = { '@method': method, '@authority': host, '@path': pathname, '@query': search || '?' };
  const sent = new Headers(headers);
  const content = typeof body === 'string' ? text.encode(body) : body;
  if (content?.length) {
    // fetch would add a type of its own to a string, after signing.
    if (!sent.has('content-type')) sent.set('content-type', 'application/octet-stream');
    sent.set('content-digest', `sha-256=:${base64(await crypto.subtle.digest('SHA-256', content))}:`);
  }
  for (const name of ['content-type', 'content-encoding', 'content-digest', 'authorization', 'idempotency-key']) {
    if (sent.has(name)) components[name] = sent.get(name);
  }
  const names = Object.keys(components).map((name) => `"${name}"`).join(' ');
  const nonce = base64(crypto.getRandomValues(new Uint8Array(16)));
  const created = Math.floor(Date.now() / 1000);
  const params = `(${names});created=${created};nonce="${nonce}";keyid="${publishableKey}";alg="ed25519";tag="countersign"`;
  const lines = Object.entries(components).map(([name, value]) => `"${name}": ${value}`);
  const base = [...lines, `"@signature-params": ${params}`].join('\n');
  const signature = await crypto.subtle.sign('Ed25519', key, text.encode(base));
  sent.set('signature-input', `sig=${params}`);
  sent.set('signature', `sig=:${base64(signature)}:`);
  // A redirect would carry the signature on.
  return fetch(url, { method, headers: sent, body: content, redirect: 'manual' });
}

if (globalThis.process?.argv.length === 6) {
  const { readFileSync } = await import('node:fs');
  const [file, publishableKey, url, json] = process.argv.slice(2);
  const key = await importKey(readFileSync(file, 'utf8'));
  const order = { method: 'POST', headers: { 'content-type': 'application/json' }, body: json };
  for (const response of [
    await signedFetch(key, publishableKey, url, order),
    await signedFetch(key, publishableKey, url),
  ]) {
    console.log(response.status, await response.text());
  }
}

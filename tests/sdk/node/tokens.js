'use strict';
// Access tokens: the SDK's check against /keys, refusals by SDK and server, and the rotation of the signing key.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { createSign, generateKeyPairSync } = require('node:crypto');
const { ScalekitClient } = require('@scalekit-sdk/node');

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url'));
const kid = (token) => decode(token.split('.')[0]).kid;

// [what, token]: each looks like the given genuine token and must be refused everywhere.
function forgeries(token) {
  const [head, body, signature] = token.split('.');
  const [header, claims] = [decode(head), decode(body)];
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = (payload) => {
    const text = `${encode(header)}.${encode(payload)}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(privateKey, 'base64url')}`;
  };
  const now = Math.floor(Date.now() / 1000);
  const none = encode({ ...header, alg: 'none' });
  return [
    ['signed by a foreign key under the genuine kid', signed(claims)],
    ['with a genuine signature under changed claims', `${head}.${encode({ ...claims, sub: 'skc_1' })}.${signature}`],
    ['expired an hour ago', signed({ ...claims, iat: now - 7200, exp: now - 3600 })],
    ['alg none without signature', `${none}.${body}.`],
    ['alg none with the genuine signature', `${none}.${body}.${signature}`],
    ['not a JWT', 'garbage'],
  ];
}

async function run(report, client, url, origin, clientId) {
  let token;
  await report.check('OAUTH-01 the SDK gets a token, validates it against /keys and reads the claims', async () => {
    token = await client.getClientAccessToken();
    assert.equal(await client.validateAccessToken(token), true);
    const claims = await client.validateToken(token, { issuer: origin });
    assert.deepEqual([claims.iss, claims.sub], [origin, clientId]);
    assert.ok(Array.isArray(claims.aud) && Number.isInteger(claims.exp) && typeof claims.jti === 'string', JSON.stringify(claims));
    assert.equal(await client.validateAccessToken(token, { issuer: 'https://elsewhere.example' }), false);
  });

  for (const [what, forged] of forgeries(token)) {
    await report.check(`MGMT-02 a token ${what}: refused by the SDK, and by the server with 401 and code 16`, async () => {
      assert.equal(await client.validateAccessToken(forged), false, "SDK's verdict");
      const answer = await fetch(`${url}/api/v1/organizations`, { headers: { authorization: `Bearer ${forged}` } });
      const body = await answer.json();
      assert.deepEqual([answer.status, body.code, body.details[0].error_code], [401, 16, 'UNAUTHENTICATED']);
    });
  }

  await report.check('MGMT-02 a client whose token went stale sees 16, fetches another and carries on', async () => {
    client.coreClient.accessToken = 'stale';
    await client.organization.listOrganization({ pageSize: 1 });
    assert.notEqual(client.coreClient.accessToken, 'stale');
  });

  await report.check('OAUTH-03 twenty first calls at once: each finds its token', async () => {
    const fresh = new ScalekitClient(url, clientId, process.env.SCALEKIT_CLIENT_SECRET);
    const answers = await Promise.all(Array.from({ length: 20 }, () => fresh.organization.listOrganization({ pageSize: 1 })));
    assert.equal(answers.length, 20);
  });
}

// `keys rotate` while SDK clients hold what they fetched before.
async function rotation(report, url, clientId, secret) {
  const cached = new ScalekitClient(url, clientId, secret);
  await report.check('CTL-45 DISC-03 keys rotate: new tokens carry another kid; clients with old keys and new clients take all', async () => {
    const old = await cached.getClientAccessToken();
    assert.equal(await cached.validateAccessToken(old), true);
    execFileSync('/bin/sh', ['-c', process.env.NARTHEX_ROTATE], { stdio: ['ignore', 'ignore', 'inherit'] });
    const renewed = await cached.getClientAccessToken();
    assert.notEqual(kid(old), kid(renewed), 'both tokens are signed by the same key');
    const fresh = new ScalekitClient(url, clientId, secret);
    for (const client of [cached, fresh]) {
      assert.equal(await client.validateAccessToken(old), true, 'old token');
      assert.equal(await client.validateAccessToken(renewed), true, 'new token');
    }
    for (const token of [old, renewed]) {
      const answer = await fetch(`${url}/api/v1/organizations`, { headers: { authorization: `Bearer ${token}` } });
      assert.equal(answer.status, 200);
    }
  });
}

module.exports = { run, rotation };

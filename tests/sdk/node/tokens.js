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
  await report.check('[OAUTH-01] the SDK gets a token, validates it against /keys and reads the claims', async () => {
    token = await client.getClientAccessToken();
    assert.equal(await client.validateAccessToken(token), true);
    const claims = await client.validateToken(token, { issuer: origin });
    assert.deepEqual([claims.iss, claims.sub], [origin, clientId]);
    assert.ok(Array.isArray(claims.aud) && Number.isInteger(claims.exp) && typeof claims.jti === 'string', JSON.stringify(claims));
    assert.equal(await client.validateAccessToken(token, { issuer: 'https://elsewhere.example' }), false);
  });

  for (const [what, forged] of forgeries(token)) {
    await report.check(`[MGMT-02] a token ${what}: refused by the SDK, and by the server with 401 and code 16`, async () => {
      assert.equal(await client.validateAccessToken(forged), false, "SDK's verdict");
      const answer = await fetch(`${url}/api/v1/organizations`, { headers: { authorization: `Bearer ${forged}` } });
      const body = await answer.json();
      assert.deepEqual([answer.status, body.code, body.details[0].error_code], [401, 16, 'UNAUTHENTICATED']);
    });
  }

  await report.check('[MGMT-02] a client whose token went stale sees 16, fetches another and carries on', async () => {
    client.coreClient.accessToken = 'stale';
    await client.organization.listOrganization({ pageSize: 1 });
    assert.notEqual(client.coreClient.accessToken, 'stale');
  });

  await report.check('[OAUTH-03] twenty first calls at once: each finds its token', async () => {
    const fresh = new ScalekitClient(url, clientId, process.env.SCALEKIT_CLIENT_SECRET);
    const answers = await Promise.all(Array.from({ length: 20 }, () => fresh.organization.listOrganization({ pageSize: 1 })));
    assert.equal(answers.length, 20);
  });
}

// A new signing key is published first and signs later: SDK clients fetch /keys once and live on with it.
async function rotation(report, url, clientId, secret) {
  const command = (line) => execFileSync('/bin/sh', ['-c', line], { stdio: ['ignore', 'ignore', 'inherit'] });
  const make = async () => {
    const client = new ScalekitClient(url, clientId, secret);
    return { client, token: await client.getClientAccessToken() };
  };
  const allTake = async (clients, tokens) => {
    for (const token of tokens) {
      for (const client of clients) assert.equal(await client.validateAccessToken(token), true, `token of ${kid(token)}`);
      const answer = await fetch(`${url}/api/v1/organizations`, { headers: { authorization: `Bearer ${token}` } });
      assert.equal(answer.status, 200, `server's answer to the token of ${kid(token)}`);
    }
  };
  const before = await make();
  assert.equal(await before.client.validateAccessToken(before.token), true);
  let during;

  await report.check('[CTL-45 DISC-03] keys rotate publishes a key that does not sign yet: nothing changes for anyone', async () => {
    command(process.env.NARTHEX_ROTATE);
    during = await make();
    assert.equal(kid(during.token), kid(before.token), 'signing key during the overlap');
    await allTake([before.client, during.client], [before.token, during.token]);
  });

  await report.check('[CTL-45 DISC-03] after the overlap the new key signs: clients made during it and later take old and new tokens', async () => {
    command(process.env.NARTHEX_PASS_OVERLAP);
    const after = await make();
    assert.notEqual(kid(after.token), kid(before.token), 'both tokens are signed by the same key');
    await allTake([during.client, after.client], [before.token, after.token]);
    assert.equal(await before.client.validateAccessToken(before.token), true, 'old token in the client that knows the old key only');
  });
}

module.exports = { run, rotation };

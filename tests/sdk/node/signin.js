'use strict';
// Signing in with the Node SDK: from its authorization URL, through the login of a browser, to tokens, sessions and the way out.
const assert = require('node:assert/strict');
const { execSync } = require('node:child_process');
const { createHash, randomBytes } = require('node:crypto');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { address } = require('./people');

const CALLBACK = 'http://localhost:3999/callback';
const SIGNED_OUT = 'http://localhost:3999/signed-out';
const EVERYTHING = ['openid', 'profile', 'email', 'offline_access'];

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The browser that all rings share: signs in, or with no address visits; where it ends.
function browse(jar, url, ...email) {
  const command = [process.env.NARTHEX_LOGIN, '--jar', quote(jar), quote(url), ...email.map(quote)].join(' ');
  return new URL(execSync(command, { encoding: 'utf8' }).trim());
}

// The SDK must throw, with the server's OAuth error in what it throws; of a failed refresh it tells no more than the status.
async function refused(call, says) {
  await assert.rejects(call, (error) => {
    const text = `${error.message} ${JSON.stringify(error)} ${JSON.stringify(error.response?.data ?? '')}`;
    assert.ok(text.includes(says), `${error.name} does not say ${says}: ${text.slice(0, 300)}`);
    return true;
  });
}

async function run(report, client, url, origin, clientId) {
  const folder = mkdtempSync(join(tmpdir(), 'narthex-jar-'));
  const jar = join(folder, 'jar');
  const email = address();
  const [state, nonce, codeVerifier] = [0, 1, 2].map(() => randomBytes(32).toString('base64url'));
  const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
  const begin = (options, ...who) => browse(jar, client.getAuthorizationUrl(CALLBACK, options), ...who).searchParams;
  let code, tokens, claims, refreshed;

  await report.check("[AUTHZ-09] from the SDK's authorization URL through a login to the callback, which has the state", async () => {
    const answer = begin({ scopes: EVERYTHING, state, nonce, codeChallenge, codeChallengeMethod: 'S256' }, email);
    assert.deepEqual([...answer.keys()].sort(), ['code', 'state']);
    assert.equal(answer.get('state'), state);
    code = answer.get('code');
  });

  await report.check('[OAUTH-07] a code that was asked for with PKCE wants its verifier', async () => {
    const answer = begin({ codeChallenge, codeChallengeMethod: 'S256' });
    await refused(() => client.authenticateWithCode(answer.get('code'), CALLBACK), 'invalid_grant');
  });

  await report.check('[OAUTH-04 OIDC-01 AUTHZ-09] the code becomes a user, an ID token, an access token and a refresh token', async () => {
    tokens = await client.authenticateWithCode(code, CALLBACK, { codeVerifier });
    claims = await client.validateToken(tokens.idToken, { issuer: origin, audience: [clientId] });
    assert.deepEqual([tokens.user.id, tokens.user.email, tokens.user.emailVerified], [claims.sub, email, true]);
    assert.deepEqual([claims.aud, claims.azp, claims.nonce], [[clientId], clientId, nonce]);
    assert.ok(claims.sub.startsWith('usr_') && claims.oid.startsWith('org_') && claims.sid.startsWith('ses_'), JSON.stringify(claims));
    assert.ok(claims.amr[0].startsWith('conn_') && claims.at_hash && claims.c_hash && claims.email_verified === true, JSON.stringify(claims));
    assert.ok(Number.isInteger(tokens.expiresIn) && tokens.refreshToken, String(tokens.expiresIn));
    const { user } = await client.user.getUser(claims.sub);
    assert.deepEqual([user.email, user.memberships[0].organizationId], [email, claims.oid], 'the user as the API knows it');
  });

  await report.check('[TOK-01] the SDK validates the access token with issuer, audience and scopes; it says who, where and what', async () => {
    const access = await client.validateToken(tokens.accessToken, { issuer: origin, audience: [clientId], requiredScopes: EVERYTHING });
    assert.deepEqual([access.sub, access.oid, access.sid], [claims.sub, claims.oid, claims.sid]);
    assert.deepEqual([access.aud, access.client_id, access.roles], [[clientId], clientId, ['admin']]);
    assert.ok(Array.isArray(access.permissions), 'permissions');
    assert.deepEqual([access.scopes, access.scope, access.exp - access.iat], [EVERYTHING, EVERYTHING.join(' '), 300]);
    for (const wrong of [{ issuer: 'https://elsewhere.example' }, { audience: ['skc_1'] }, { requiredScopes: ['deploy'] }]) {
      assert.equal(await client.validateAccessToken(tokens.accessToken, wrong).catch(() => false), false, JSON.stringify(wrong));
    }
  });

  await report.check('[OAUTH-08] a refresh gives another refresh token and a fresh access token of the same session, with roles read anew', async () => {
    await client.user.updateMembership(claims.oid, claims.sub, { roles: ['member'] });
    const second = await client.refreshAccessToken(tokens.refreshToken);
    assert.notEqual(second.refreshToken, tokens.refreshToken);
    const access = await client.validateToken(second.accessToken);
    assert.deepEqual([access.sub, access.sid, access.roles], [claims.sub, claims.sid, ['member']]);
    refreshed = await client.refreshAccessToken(second.refreshToken);
    await refused(() => client.refreshAccessToken('rt_invented'), 'status code 400');
  });

  await report.check('[OAUTH-04] without offline_access there is no refresh token', async () => {
    const found = await client.authenticateWithCode(begin({}).get('code'), CALLBACK);
    assert.deepEqual([found.refreshToken, found.user.id], [undefined, claims.sub]);
  });

  await report.check('[SES-01 SES-05] the session is listed as active, with its device', async () => {
    const session = await client.session.getSession(claims.sid);
    assert.deepEqual([session.status, session.userId, session.organizationId], ['active', claims.sub, claims.oid]);
    const page = await client.session.getUserSessions(claims.sub);
    assert.deepEqual(page.sessions.map((found) => found.sessionId), [claims.sid]);
  });

  await report.check('[AUTHZ-09] an error comes back with the state as well: prompt=none and nobody signed in', async () => {
    const answer = browse(join(folder, 'stranger'), client.getAuthorizationUrl(CALLBACK, { state, prompt: 'none' })).searchParams;
    assert.deepEqual([answer.get('error'), answer.get('state')], ['login_required', state]);
  });

  await report.check('[OIDC-03] /userinfo says of the access token what the ID token says', async () => {
    const answer = await fetch(`${url}/userinfo`, { headers: { authorization: `Bearer ${refreshed.accessToken}` } });
    const found = await answer.json();
    assert.deepEqual([answer.status, found.sub, found.email], [200, claims.sub, email]);
  });

  await report.check("[OIDC-06 OAUTH-09] the SDK's logout URL ends the session, leads to the application with the state, and ends the refresh token", async () => {
    const out = client.getLogoutUrl({ idTokenHint: tokens.idToken, postLogoutRedirectUri: SIGNED_OUT, state });
    assert.equal(browse(jar, out).href, `${SIGNED_OUT}?state=${state}`);
    assert.equal((await client.session.getSession(claims.sid)).status, 'logout');
    await refused(() => client.refreshAccessToken(refreshed.refreshToken), 'status code 400');
    assert.equal(begin({ prompt: 'none' }).get('error'), 'login_required');
  });

  rmSync(folder, { recursive: true });
}

module.exports = { run };

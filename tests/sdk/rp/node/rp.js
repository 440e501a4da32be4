'use strict';
// openid-client (npm) as a relying party: everything from the discovery document, every check that the library has.
const assert = require('node:assert/strict');
const { execSync } = require('node:child_process');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const oidc = require('openid-client');
const { Report } = require('../../node/report');
const registration = require('./registration');

const CALLBACK = 'http://localhost:3999/callback';
const SIGNED_OUT = 'http://localhost:3999/signed-out';
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function main() {
  const { SCALEKIT_ENVIRONMENT_URL: issuer, SCALEKIT_CLIENT_ID: clientId, SCALEKIT_CLIENT_SECRET: secret, NARTHEX_LOGIN } = process.env;
  const report = new Report('openid-client');
  const folder = mkdtempSync(join(tmpdir(), 'narthex-jar-'));
  const browse = (url, ...email) =>
    new URL(execSync([NARTHEX_LOGIN, '--jar', quote(join(folder, 'jar')), quote(url.href), ...email].join(' '), { encoding: 'utf8' }).trim());
  const email = `openid-client-${oidc.randomState().slice(0, 8).toLowerCase().replaceAll(/[^a-z0-9]/g, 'x')}x@example.com`;
  const verifier = oidc.randomPKCECodeVerifier();
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()];
  let config, tokens, renewed;

  await report.check('[DISC-01] discovery: the issuer of the document is the URL that it was asked at', async () => {
    config = await oidc.discovery(new URL(issuer), clientId, undefined, oidc.ClientSecretPost(secret));
    oidc.enableNonRepudiationChecks(config); // signatures of ID tokens too, not TLS alone
    assert.equal(config.serverMetadata().issuer, issuer);
  });

  await report.check('[AUTHZ-09 OAUTH-04 OAUTH-07 OIDC-01] code flow with PKCE, state and nonce; the library verifies the ID token', async () => {
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: CALLBACK,
      scope: 'openid profile email offline_access',
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    });
    const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
    tokens = await oidc.authorizationCodeGrant(config, browse(url, email), checks);
    assert.equal(tokens.claims().email, email);
    assert.ok(tokens.refresh_token);
  });

  await report.check('[AUTHZ-09] another state, another nonce and a changed issuer are refused by the library', async () => {
    const parameters = { redirect_uri: CALLBACK, scope: 'openid', state: 'own', nonce: 'own', code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' };
    const callback = () => browse(oidc.buildAuthorizationUrl(config, parameters));
    await assert.rejects(oidc.authorizationCodeGrant(config, callback(), { pkceCodeVerifier: verifier, expectedState: 'other', expectedNonce: 'own' }));
    await assert.rejects(oidc.authorizationCodeGrant(config, callback(), { pkceCodeVerifier: verifier, expectedState: 'own', expectedNonce: 'other' }));
    await assert.rejects(
      oidc.authorizationCodeGrant(config, callback(), { pkceCodeVerifier: oidc.randomPKCECodeVerifier(), expectedState: 'own', expectedNonce: 'own' }),
      (error) => error.error === 'invalid_grant',
    );
  });

  await report.check('[OAUTH-08] refresh: other tokens, and an ID token of the same subject, which the library verifies', async () => {
    renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(renewed.refresh_token, tokens.refresh_token);
    assert.equal(renewed.claims().sub, tokens.claims().sub);
  });

  await report.check('[OIDC-03] userinfo of the subject of the ID token', async () => {
    const found = await oidc.fetchUserInfo(config, renewed.access_token, tokens.claims().sub);
    assert.deepEqual([found.email, found.email_verified], [email, true]);
  });

  await report.check('[OIDC-04] introspection: the token is active, an invented one is not', async () => {
    const found = await oidc.tokenIntrospection(config, renewed.access_token);
    assert.deepEqual([found.active, found.sub, found.client_id], [true, tokens.claims().sub, clientId]);
    assert.deepEqual(await oidc.tokenIntrospection(config, 'invented'), { active: false });
  });

  await report.check('[OIDC-05] revocation of the refresh token: it refreshes no more', async () => {
    await oidc.tokenRevocation(config, renewed.refresh_token);
    await assert.rejects(oidc.refreshTokenGrant(config, renewed.refresh_token), (error) => error.error === 'invalid_grant');
  });

  await report.check('[OIDC-06] RP-initiated logout leads to the application with the state', async () => {
    const url = oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: SIGNED_OUT, state });
    assert.equal(browse(url).href, `${SIGNED_OUT}?state=${state}`);
  });

  await registration.run(report, issuer, clientId, secret);
  rmSync(folder, { recursive: true });
  report.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

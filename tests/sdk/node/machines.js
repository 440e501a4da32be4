'use strict';
// Machine clients of organizations, and API tokens, as the Node SDK drives them.
const assert = require('node:assert/strict');
const { ScalekitClient, ScalekitForbiddenException, ScalekitUnauthorizedException } = require('@scalekit-sdk/node');
const { refused, CODE } = require('./report');
const { unique } = require('./organizations');
const { address, notFound, badRequest, NOBODY, NOWHERE } = require('./people');

const LAST = 'last client cannot be deleted';
const claimsOf = (client) => Object.fromEntries(client.customClaims.map(({ key, value }) => [key, value]));

async function run(report, client, url, origin) {
  const externalId = unique('machines');
  const org = (await client.organization.createOrganization('Machines', { externalId })).organization.id;
  try {
    await organizationClients(report, client, url, origin, org);
    await apiTokens(report, client, org, externalId);
  } finally {
    await client.organization.deleteOrganization(org);
  }
}

async function organizationClients(report, client, url, origin, org) {
  const { m2m } = client;
  const scopes = ['deploy:applications', 'write'];
  let id, secret, first, added;

  await report.check("[M2M-01] an organization's client: m2morg_ id, its secret once, get, update of one field", async () => {
    const made = await m2m.createOrganizationClient(org, {
      name: 'Importer', description: 'Nightly', scopes, audience: ['https://api.example.com'], customClaims: { tier: 'gold' },
    });
    [id, secret, first] = [made.client.clientId, made.plainSecret, made.client.secrets[0]];
    assert.match(id, /^m2morg_[0-9]+$/);
    assert.equal(first.secretSuffix, secret.slice(-4));
    const found = (await m2m.getOrganizationClient(org, id)).client;
    assert.deepEqual(
      [found.organizationId, found.name, found.scopes, found.audience, claimsOf(found), found.expiry],
      [org, 'Importer', scopes, ['https://api.example.com'], { tier: 'gold' }, 3600n],
    );
    assert.ok(!found.secrets[0].plainSecret, 'get shows the secret');
    const updated = (await m2m.updateOrganizationClient(org, id, { description: 'Hourly' })).client;
    assert.deepEqual([updated.name, updated.description, updated.scopes], ['Importer', 'Hourly', scopes]);
  });

  await report.check('[TOK-03] its token: audience, scopes and custom claims of the client, checked against /keys', async () => {
    const token = await client.generateClientToken(id, secret);
    const claims = await client.validateToken(token, { issuer: origin, audience: ['https://api.example.com'] });
    assert.deepEqual([claims.sub, claims.oid, claims.aud], [id, org, ['https://api.example.com']]);
    assert.deepEqual([[...claims.scopes].sort(), claims.custom_claims], [scopes, { tier: 'gold' }]);
    assert.ok([3599, 3600].includes(claims.exp - claims.iat), `lifetime ${claims.exp - claims.iat} s`);
  });

  await report.check('[MGMT-04] its token is none for the management API: PERMISSION_DENIED', () =>
    refused(
      () => new ScalekitClient(url, id, secret).user.listUsers(), ScalekitForbiddenException, CODE.PERMISSION_DENIED, 'PERMISSION_DENIED',
    ));

  await report.check('[M2M-02] a second secret works beside the first; a removed one does not; the last one stays', async () => {
    added = await m2m.addOrganizationClientSecret(org, id);
    assert.equal(added.secret.secretSuffix, added.plainSecret.slice(-4));
    for (const good of [secret, added.plainSecret]) await client.generateClientToken(id, good);
    await m2m.removeOrganizationClientSecret(org, id, first.id);
    await client.generateClientToken(id, added.plainSecret);
    await refused(
      () => client.generateClientToken(id, secret), ScalekitUnauthorizedException, CODE.UNAUTHENTICATED, 'Unauthorized',
    );
    const error = await badRequest(() => m2m.removeOrganizationClientSecret(org, id, added.secret.id));
    assert.equal(error.message, `[invalid_argument] ${LAST}`);
  });

  await report.check('[M2M-04] the list works without a page size, and in pages', async () => {
    const others = [id];
    for (let n = 1; n <= 10; n += 1) others.push((await m2m.createOrganizationClient(org, { name: `Exporter ${n}` })).client.clientId);
    const listed = async (options) => {
      const page = await m2m.listOrganizationClients(org, options);
      return { found: page.clients.map((one) => one.clientId), page };
    };
    const all = await listed();
    const start = await listed({ pageSize: 10 });
    const end = await listed({ pageSize: 10, pageToken: start.page.nextPageToken });
    assert.deepEqual([start.found.length, end.found.length, end.page.nextPageToken], [10, 1, '']);
    assert.deepEqual([...start.found, ...end.found].sort(), others.sort());
    assert.equal(all.page.totalSize, 11);
    assert.ok(all.found.every((one) => others.includes(one)) && all.found.length >= 10, `${all.found.length} without a page size`);
  });

  await report.check('[M2M-01] after delete the client is not found', async () => {
    await m2m.deleteOrganizationClient(org, id);
    for (const call of [
      () => m2m.getOrganizationClient(org, id),
      () => m2m.updateOrganizationClient(org, id, { name: 'x' }),
      () => m2m.addOrganizationClientSecret(org, id),
      () => m2m.removeOrganizationClientSecret(org, id, added.secret.id),
      () => m2m.deleteOrganizationClient(org, id),
      () => m2m.createOrganizationClient(NOWHERE, { name: 'x' }),
    ]) await notFound(call);
  });
}

async function apiTokens(report, client, org, externalId) {
  const { token: api } = client;
  const email = address();
  const { user } = await client.user.createUserAndMembership(org, { email, externalId: unique('owner'), sendInvitationEmail: false });
  const listed = async (options) => (await api.listTokens(org, options)).tokens.map((one) => one.tokenId);
  const expiry = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600), nanos: 0 };
  let plain, owned;

  // The SDK has an exception of its own for this call, and hands the server's text on.
  const invalid = (token) =>
    assert.rejects(() => api.validateToken(token), (error) => {
      assert.equal(error.constructor.name, 'ScalekitValidateTokenFailureException');
      assert.match(String(error.message), /not found/i);
      return true;
    });

  await report.check('[APIT-01] a token of an organization and one of a user, with claims, expiry and description', async () => {
    plain = await api.createToken(org);
    assert.match(plain.tokenId, /^apit_[0-9]+$/);
    assert.match(plain.token, /^[0-9A-Za-z]{43,}$/);
    assert.ok(!plain.tokenInfo.expiry && !plain.tokenInfo.userId, 'expiry or user on a plain token');
    owned = await api.createToken(org, { userId: user.id, customClaims: { env: 'ci' }, expiry, description: 'CI' });
    const info = owned.tokenInfo;
    assert.deepEqual([info.userId, { ...info.customClaims }, info.description], [user.id, { env: 'ci' }, 'CI']);
    assert.deepEqual([info.expiry.seconds, info.tokenSuffix], [expiry.seconds, owned.token.slice(-4)]);
  });

  await report.check('[APIT-02] by value and by id the token shows organization, user and roles; any other is not found', async () => {
    for (const given of [owned.token, owned.tokenId]) {
      const { tokenInfo: info } = await api.validateToken(given);
      assert.deepEqual([info.organizationId, info.organizationExternalId], [org, externalId]);
      assert.deepEqual([info.userId, info.userExternalId, info.email, info.roles], [user.id, user.externalId, email, ['member']]);
      assert.deepEqual({ ...info.customClaims }, { env: 'ci' });
    }
    for (const wrong of [`${owned.token.slice(0, -1)}${owned.token.endsWith('A') ? 'B' : 'A'}`, 'apit_100000000000000000', 'x']) {
      await invalid(wrong);
    }
  });

  await report.check('[APIT-05] an update replaces the claims and an empty description clears; what is left out stays', async () => {
    const updated = (await api.updateToken(owned.token, { customClaims: { region: 'eu' }, description: '' })).tokenInfo;
    assert.deepEqual([{ ...updated.customClaims }, updated.description ?? ''], [{ region: 'eu' }, '']);
    const kept = (await api.updateToken(owned.tokenId, { description: 'again' })).tokenInfo;
    assert.deepEqual([{ ...kept.customClaims }, kept.description], [{ region: 'eu' }, 'again']);
  });

  await report.check('[APIT-04] lists: of the organization in pages, of the user, active ones only', async () => {
    const page = await api.listTokens(org, { pageSize: 1 });
    const rest = await listed({ pageSize: 1, pageToken: page.nextPageToken });
    assert.deepEqual([page.tokens[0].tokenId, ...rest].sort(), [plain.tokenId, owned.tokenId].sort());
    assert.equal(page.totalCount, 2);
    assert.deepEqual(await listed({ userId: user.id }), [owned.tokenId]);
    await api.invalidateToken(plain.token);
    assert.deepEqual(await listed(), [owned.tokenId]);
  });

  await report.check('[APIT-03] an invalidated token is not found at once; invalidating it again succeeds, an unknown one not', async () => {
    await api.invalidateToken(owned.tokenId);
    await invalid(owned.token);
    await api.invalidateToken(owned.token);
    await notFound(() => api.invalidateToken('apit_100000000000000000'));
    await notFound(() => api.updateToken(owned.tokenId, { description: 'x' }));
  });

  await report.check('[APIT-01] no token for an unknown organization or for a user who is no member, nor one that has expired', async () => {
    await notFound(() => api.createToken(NOWHERE));
    await badRequest(() => api.createToken(org, { userId: NOBODY }));
    await badRequest(() => api.createToken(org, { expiry: { seconds: expiry.seconds - 7200n, nanos: 0 } }));
  });
  await client.user.deleteUser(user.id);
}

module.exports = { run };

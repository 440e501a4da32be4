'use strict';
// The life of an organization as the Node SDK drives it.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { ScalekitBadRequestException, ScalekitNotFoundException } = require('@scalekit-sdk/node');
const { refused, CODE } = require('./report');

const unique = (prefix) => `${prefix}-${randomUUID().slice(0, 13)}`;
const features = (organization) => organization.settings.features.slice(0, 2).map((f) => [f.name, f.enabled]);
const MINUTES = 1;
const SOURCE = { APPLICATION: 1, CUSTOM: 2 };

async function run(report, client, origin) {
  const made = [];
  const create = async (name, options) => {
    const { organization } = await client.organization.createOrganization(name, options);
    made.push(organization.id);
    return organization;
  };
  try {
    await life(report, client.organization, create);
    await settings(report, client.organization, create, origin);
    await sessionPolicy(report, client.organization, create);
    await search(report, client.organization, create);
    await endOfLife(report, client.organization);
  } finally {
    for (const id of made) await client.organization.deleteOrganization(id);
  }
}

async function life(report, orgs, create) {
  await report.check('[ORG-01 API-06] create with a display name only: org_ id and both timestamps', async () => {
    const plain = await create('Plain Organization');
    assert.match(plain.id, /^org_[0-9]{15,28}$/);
    assert.equal(plain.displayName, 'Plain Organization');
    assert.ok(Math.abs(Number(plain.createTime.seconds) - Date.now() / 1000) < 300, 'createTime is not now');
    assert.deepEqual(plain.updateTime, plain.createTime);
    assert.equal(plain.externalId, undefined);
  });

  const externalId = unique('crm');
  let full;
  await report.check('[ORG-03 ORG-08] external id, slug and logo are stored by create; get by id and by external id', async () => {
    const slug = `${unique('acme')}.example.com`;
    full = await create('Full Organization', { externalId, slug, logoUrl: 'https://cdn.example.com/logo' });
    for (const { organization } of [await orgs.getOrganization(full.id), await orgs.getOrganizationByExternalId(externalId)]) {
      assert.deepEqual(
        [organization.id, organization.externalId, organization.slug, organization.logoUrl],
        [full.id, externalId, slug, 'https://cdn.example.com/logo'],
      );
    }
  });

  await report.check('[ORG-10] the organization created last is the first of the list', async () => {
    const newest = await create('Newest Organization');
    assert.equal((await orgs.listOrganization({ pageSize: 1 })).organizations[0].id, newest.id);
  });

  await report.check('[ORG-06 ORG-07] metadata is set by update; a later update of the name leaves it', async () => {
    await orgs.updateOrganization(full.id, { metadata: { plan: 'gold', 'tier-2': 'ü€' } });
    const { organization } = await orgs.updateOrganization(full.id, { displayName: 'Renamed' });
    assert.equal(organization.displayName, 'Renamed');
    assert.deepEqual({ ...organization.metadata }, { plan: 'gold', 'tier-2': 'ü€' });
    assert.equal(organization.externalId, externalId);
  });

  await report.check('[ORG-08 ORG-09] update by external id; empty text clears slug and logo', async () => {
    const { organization } = await orgs.updateOrganizationByExternalId(externalId, { slug: '', logoUrl: '' });
    assert.equal(organization.id, full.id);
    assert.ok(!organization.slug && !organization.logoUrl, 'still set');
  });
}

async function settings(report, orgs, create, origin) {
  const org = await create('Settings Organization');

  await report.check('[ORG-12] features: sso then dir_sync, off at first; only the named one changes', async () => {
    assert.deepEqual(features((await orgs.getOrganization(org.id)).organization), [['sso', false], ['dir_sync', false]]);
    const on = await orgs.updateOrganizationSettings(org.id, { features: [{ name: 'dir_sync', enabled: true }] });
    assert.deepEqual(features(on.organization), [['sso', false], ['dir_sync', true]]);
    await refused(
      () => orgs.updateOrganizationSettings(org.id, { features: [{ name: 'teleport', enabled: true }] }),
      ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT',
    );
  });

  await report.check('[CTL-57] a portal link for a disabled feature is refused; without features it is made', async () => {
    // The SDK's own method names no feature; its generated client does.
    await refused(
      () => orgs.coreClient.connectExec(orgs.client.generatePortalLink, { id: org.id, features: [2] }),
      ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT',
    );
    const link = await orgs.generatePortalLink(org.id);
    assert.match(link.id, /^lnk_[0-9]+$/);
    assert.ok(link.location.startsWith(`${origin}/`), link.location);
    assert.ok(Number(link.expireTime.seconds) > Date.now() / 1000, 'expires in the past');
  });

  await report.check('seat cap: set, read back, explicit 0, cleared by null', async () => {
    assert.equal((await orgs.upsertUserManagementSettings(org.id, { maxAllowedUsers: 25 })).maxAllowedUsers, 25);
    assert.equal((await orgs.getOrganizationUserManagementSetting(org.id)).settings.maxAllowedUsers, 25);
    assert.equal((await orgs.upsertUserManagementSettings(org.id, { maxAllowedUsers: 0 })).maxAllowedUsers, 0);
    assert.equal((await orgs.upsertUserManagementSettings(org.id, { maxAllowedUsers: null })).maxAllowedUsers, undefined);
    assert.equal((await orgs.getOrganizationUserManagementSetting(org.id)).settings.maxAllowedUsers, undefined);
  });
}

async function sessionPolicy(report, orgs, create) {
  const org = await create('Policy Organization');

  await report.check('[ORG-14] session policy: APPLICATION without timeouts at first', async () => {
    const policy = await orgs.getOrganizationSessionPolicy(org.id);
    assert.equal(policy.policySource, SOURCE.APPLICATION);
    assert.equal(policy.absoluteSessionTimeout, undefined);
  });

  await report.check('[ORG-14] CUSTOM in DAYS and HOURS comes back in MINUTES; APPLICATION drops it again', async () => {
    await orgs.updateOrganizationSessionPolicy(org.id, {
      policySource: 'CUSTOM',
      absoluteSessionTimeout: 2,
      absoluteSessionTimeoutUnit: 'DAYS',
      idleSessionTimeoutEnabled: true,
      idleSessionTimeout: 5,
      idleSessionTimeoutUnit: 'HOURS',
    });
    const policy = await orgs.getOrganizationSessionPolicy(org.id);
    assert.deepEqual(
      [policy.policySource, policy.absoluteSessionTimeout, policy.absoluteSessionTimeoutUnit],
      [SOURCE.CUSTOM, 2880, MINUTES],
    );
    assert.deepEqual([policy.idleSessionTimeoutEnabled, policy.idleSessionTimeout, policy.idleSessionTimeoutUnit], [true, 300, MINUTES]);
    const reverted = await orgs.updateOrganizationSessionPolicy(org.id, { policySource: 'APPLICATION' });
    assert.deepEqual([reverted.policySource, reverted.absoluteSessionTimeout], [SOURCE.APPLICATION, undefined]);
  });

  await report.check('[ORG-14] an idle timeout that is not below the absolute one is refused', async () => {
    await refused(
      () => orgs.updateOrganizationSessionPolicy(org.id, {
        policySource: 'CUSTOM',
        absoluteSessionTimeout: 1,
        absoluteSessionTimeoutUnit: 'HOURS',
        idleSessionTimeoutEnabled: true,
        idleSessionTimeout: 60,
        idleSessionTimeoutUnit: 'MINUTES',
      }),
      ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT',
    );
  });
}

async function search(report, orgs, create) {
  const word = `zq${randomUUID().slice(0, 8)}`;
  const first = await create(`Searchable ${word.toUpperCase()} One`);
  const second = await create('Searchable by external id', { externalId: `ext-${word}` });
  const ids = (page) => page.organizations.map((organization) => organization.id).sort();

  await report.check('[ORG-11] search finds by name and external id without regard to case, and by id', async () => {
    assert.deepEqual(ids(await orgs.searchOrganization(word)), [first.id, second.id].sort());
    assert.deepEqual(ids(await orgs.searchOrganization(first.id)), [first.id]);
  });

  await report.check('[ORG-11] search: pages of one; nothing found is an empty list with total 0', async () => {
    const page = await orgs.searchOrganization(word, 1);
    const next = await orgs.searchOrganization(word, 1, page.nextPageToken);
    assert.deepEqual([...ids(page), ...ids(next)].sort(), [first.id, second.id].sort());
    assert.deepEqual([page.totalSize, next.nextPageToken], [2, '']);
    const none = await orgs.searchOrganization(`${word}nobody`);
    assert.deepEqual([none.organizations.length, none.totalSize, none.nextPageToken], [0, 0, '']);
  });

  await report.check('[ORG-11] a query of two characters and a page of 31 are refused', async () => {
    for (const call of [() => orgs.searchOrganization('ab'), () => orgs.searchOrganization('abc', 31)]) {
      await refused(call, ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT');
    }
  });
}

async function endOfLife(report, orgs) {
  const externalId = unique('gone');
  let doomed;
  await report.check('[ORG-05] after delete: not found by id and by external id', async () => {
    doomed = (await orgs.createOrganization('Doomed', { externalId })).organization;
    await orgs.deleteOrganization(doomed.id);
    for (const call of [
      () => orgs.getOrganization(doomed.id),
      () => orgs.getOrganizationByExternalId(externalId),
      () => orgs.deleteOrganization(doomed.id),
    ]) {
      await refused(call, ScalekitNotFoundException, CODE.NOT_FOUND, 'NOT_FOUND');
    }
  });

  await report.check('[ORG-05] the external id of a deleted organization is free at once', async () => {
    const again = (await orgs.createOrganization('Reborn', { externalId })).organization;
    assert.notEqual(again.id, doomed.id);
    await orgs.deleteOrganization(again.id);
  });
}

module.exports = { run, unique };

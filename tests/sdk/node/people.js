'use strict';
// Users, their memberships and invitations as the Node SDK drives them.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { ScalekitBadRequestException, ScalekitNotFoundException } = require('@scalekit-sdk/node');
const { refused, CODE } = require('./report');
const { unique } = require('./organizations');

const NOBODY = 'usr_100000000000000000';
const NOWHERE = 'org_100000000000000000';
const STATUS = { ACTIVE: 1, PENDING_INVITE: 3 };

const address = () => `ada-${randomUUID().slice(0, 13)}@example.com`;
const names = (found) => found.map((one) => one.name).sort();
const ids = (page) => page.users.map((user) => user.id);
const notFound = (call) => refused(call, ScalekitNotFoundException, CODE.NOT_FOUND, 'NOT_FOUND');
const badRequest = (call) => refused(call, ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT');

function membershipIn(user, organizationId) {
  const found = user.memberships.filter((membership) => membership.organizationId === organizationId);
  assert.equal(found.length, 1, 'memberships in the organization');
  return found[0];
}

async function run(report, client) {
  const first = (await client.organization.createOrganization('People One')).organization.id;
  const second = (await client.organization.createOrganization('People Two')).organization.id;
  const made = [];
  const create = async (organizationId, options) => {
    const answer = await client.user.createUserAndMembership(organizationId, { sendInvitationEmail: false, ...options });
    made.push(answer.user.id);
    return answer.user;
  };
  try {
    await users(report, client.user, create, first, second);
    await memberships(report, client.user, create, first, second);
    await invitations(report, client.user, create, first);
    await endOfLife(report, client.user, create, first, second);
  } finally {
    for (const id of made) await client.user.deleteUser(id);
    for (const id of [first, second]) await client.organization.deleteOrganization(id);
  }
}

async function users(report, api, create, org, other) {
  const email = address();
  const externalId = unique('person');
  let ada;

  await report.check('[USR-01] a user without an invitation is active, verified, and provisioned directly', async () => {
    ada = await create(org, { email, externalId, metadata: { desk: '7' }, userProfile: { firstName: 'Ada', lastName: 'Lovelace' } });
    assert.match(ada.id, /^usr_[0-9]{15,28}$/);
    assert.deepEqual([ada.email, ada.externalId, { ...ada.metadata }], [email, externalId, { desk: '7' }]);
    assert.equal(ada.userProfile.emailVerified, true);
    const held = membershipIn(ada, org);
    assert.deepEqual([held.membershipStatus, held.provisioningMethod], [STATUS.ACTIVE, 'direct_provision']);
  });

  await report.check('[USR-04] first and last name, all that this SDK sends, come back as given and family name too', async () => {
    const shown = ({ userProfile: p }) => [p.firstName, p.lastName, p.givenName, p.familyName];
    assert.deepEqual(shown(ada), ['Ada', 'Lovelace', 'Ada', 'Lovelace']);
    const { user } = await api.updateUser(ada.id, { userProfile: { firstName: 'Augusta', lastName: 'King' } });
    assert.deepEqual(shown(user), ['Augusta', 'King', 'Augusta', 'King']);
    assert.deepEqual({ ...user.metadata }, { desk: '7' });
  });

  await report.check('[USR-09] get shows the environment and the membership with its role and permissions', async () => {
    const { user } = await api.getUser(ada.id);
    assert.match(user.environmentId, /^env_[0-9]+$/);
    const held = membershipIn(user, org);
    assert.deepEqual(names(held.roles), ['member']);
    assert.ok(held.permissions.includes('sk_org_users_read'), String(held.permissions));
  });

  await report.check('[USR-05] get and update by external id; the external id of another user is refused', async () => {
    assert.equal((await api.getUserByExternalId(externalId)).user.id, ada.id);
    const { user } = await api.updateUserByExternalId(externalId, { metadata: { desk: '8' } });
    assert.deepEqual([user.id, { ...user.metadata }], [ada.id, { desk: '8' }]);
    await badRequest(() => create(org, { email: address(), externalId }));
  });

  await report.check("[USR-10] lists of users and of an organization's users: newest first, pages, total size", async () => {
    const newest = await create(org, { email: address() });
    assert.deepEqual(ids(await api.listUsers({ pageSize: 1 })), [newest.id]);
    const page = await api.listOrganizationUsers(org, { pageSize: 1 });
    assert.deepEqual([ids(page), page.totalSize], [[newest.id], 2]);
    const rest = await api.listOrganizationUsers(org, { pageSize: 1, pageToken: page.nextPageToken });
    assert.deepEqual([ids(rest), rest.nextPageToken], [[ada.id], '']);
  });

  await report.check('[USR-11] search by part of the address, id and external id; the other organization has no such user', async () => {
    for (const query of [email.split('@')[0].toUpperCase(), ada.id, externalId]) {
      assert.deepEqual(ids(await api.searchUsers(query)), [ada.id], query);
      assert.deepEqual(ids(await api.searchOrganizationUsers(org, query)), [ada.id], query);
      assert.deepEqual(ids(await api.searchOrganizationUsers(other, query)), [], query);
    }
    await badRequest(() => api.searchUsers('ab'));
    await badRequest(() => api.searchUsers('abc', 31));
    await notFound(() => api.searchOrganizationUsers(NOWHERE, 'abc'));
  });

  await report.check('an unknown user and an unknown organization are not found; an address without @ is a bad request', async () => {
    for (const call of [
      () => api.getUser(NOBODY),
      () => api.getUserByExternalId(unique('nobody')),
      () => api.updateUser(NOBODY, { metadata: { desk: '1' } }),
      () => api.listOrganizationUsers(NOWHERE),
      () => create(NOWHERE, { email: address() }),
    ]) await notFound(call);
    await badRequest(() => create(org, { email: 'nobody' }));
  });
}

async function memberships(report, api, create, first, second) {
  const externalId = unique('person');
  const user = await create(first, { email: address(), externalId });
  const wanted = { roles: ['admin'], metadata: { team: 'blue' }, sendInvitationEmail: false };

  await report.check('[MEM-01] a user joins a second organization by id, leaves it, and joins it by external id', async () => {
    const held = membershipIn((await api.createMembership(second, user.id, wanted)).user, second);
    assert.deepEqual([names(held.roles), { ...held.metadata }, held.membershipStatus], [['admin'], { team: 'blue' }, STATUS.ACTIVE]);
    await api.deleteMembership(second, user.id);
    assert.deepEqual((await api.getUser(user.id)).user.memberships.map((held) => held.organizationId), [first]);
    const again = await api.createMembershipByExternalId(second, externalId, wanted);
    assert.deepEqual(names(membershipIn(again.user, second).roles), ['admin']);
  });

  await report.check('[MEM-02] a membership that exists already is refused', () =>
    badRequest(() => api.createMembership(second, user.id, { sendInvitationEmail: false })));

  await report.check('[MEM-03] an update replaces roles and metadata; what it leaves empty stays', async () => {
    let held = membershipIn((await api.updateMembership(second, user.id, { roles: ['member'] })).user, second);
    assert.deepEqual([names(held.roles), { ...held.metadata }], [['member'], { team: 'blue' }]);
    held = membershipIn((await api.updateMembershipByExternalId(second, externalId, { metadata: { desk: '9' } })).user, second);
    assert.deepEqual([names(held.roles), { ...held.metadata }], [['member'], { desk: '9' }]);
  });

  await report.check('[MEM-04] assigning adds roles, removing takes them, down to none', async () => {
    await api.assignUserRoles(second, user.id, ['admin']);
    assert.deepEqual(names((await api.listUserRoles(second, user.id)).roles), ['admin', 'member']);
    await api.removeUserRole(second, user.id, 'admin');
    const { permissions } = await api.listUserPermissions(second, user.id);
    assert.deepEqual(names(permissions), ['sk_org_settings_read', 'sk_org_users_read']);
    await api.removeUserRole(second, user.id, 'member');
    assert.deepEqual([(await api.listUserRoles(second, user.id)).roles, (await api.listUserPermissions(second, user.id)).permissions], [[], []]);
  });

  await report.check('an unknown role is refused; a membership that is not there is not found', async () => {
    await badRequest(() => api.updateMembership(second, user.id, { roles: ['no_such_role'] }));
    await api.deleteMembershipByExternalId(second, externalId);
    for (const call of [
      () => api.updateMembership(second, user.id, { metadata: { desk: '1' } }),
      () => api.deleteMembership(second, user.id),
      () => api.listUserRoles(second, user.id),
      () => api.listUserPermissions(second, user.id),
      () => api.assignUserRoles(second, user.id, ['admin']),
      () => api.createMembership(NOWHERE, user.id),
      () => api.createMembership(first, NOBODY),
    ]) await notFound(call);
  });
}

async function invitations(report, api, create, org) {
  let guest;
  await report.check('[USR-03] without a word about an invitation the user is invited: pending, unverified, with an end', async () => {
    guest = await create(org, { email: address(), sendInvitationEmail: undefined });
    const held = membershipIn(guest, org);
    assert.deepEqual([held.membershipStatus, held.provisioningMethod], [STATUS.PENDING_INVITE, 'invitation']);
    assert.equal(guest.userProfile.emailVerified, false);
    assert.ok(held.expiresAt.seconds - held.createdAt.seconds > 86_400n, 'the invitation runs out within a day');
  });

  await report.check('[INV-03] resending a valid invitation: pending, sent again once, same end', async () => {
    const { invite } = await api.resendInvite(org, guest.id);
    assert.deepEqual([invite.organizationId, invite.userId, invite.status, invite.resentCount], [org, guest.id, 'PENDING_INVITE', 1]);
    assert.equal(invite.expiresAt.seconds, membershipIn(guest, org).expiresAt.seconds);
  });

  await report.check('[INV-05] no invitation for an active member: bad request; for an unknown user: not found', async () => {
    const active = await create(org, { email: address() });
    await assert.rejects(() => api.resendInvite(org, active.id), ScalekitBadRequestException);
    await notFound(() => api.resendInvite(org, NOBODY));
  });
}

async function endOfLife(report, api, create, first, second) {
  const externalId = unique('gone');
  await report.check('[USR-12] a deleted user is not found; a second delete by id succeeds, by external id not', async () => {
    const user = await create(first, { email: address(), externalId });
    await api.deleteUser(user.id);
    await notFound(() => api.getUser(user.id));
    assert.ok(!ids(await api.listOrganizationUsers(first)).includes(user.id), 'still a member');
    await api.deleteUser(user.id);
    await notFound(() => api.deleteUserByExternalId(externalId));
  });

  await report.check('delete by external id; and with the last membership the user goes too', async () => {
    const user = await create(first, { email: address(), externalId });
    await api.deleteUserByExternalId(externalId);
    await notFound(() => api.getUser(user.id));
    const lone = await create(second, { email: address() });
    await api.deleteMembership(second, lone.id);
    await notFound(() => api.getUser(lone.id));
  });
}

module.exports = { run, address, names, notFound, badRequest, NOBODY, NOWHERE };

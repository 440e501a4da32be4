'use strict';
// Roles and permissions of the environment and of an organization as the Node SDK drives them.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { ScalekitBadRequestException } = require('@scalekit-sdk/node');
const { address, names, notFound, badRequest } = require('./people');

const ASSIGNED = 'role cannot be deleted as it is assigned to users';
const word = (prefix) => `${prefix}_${randomUUID().replaceAll('-', '').slice(0, 12)}`;

// A state that does not allow the call, with exactly this text. The SDK shows such a code as a bad request, and its
// library puts the code's name before the text.
async function stands(call, text) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor.name, ScalekitBadRequestException.name);
    assert.equal(error.message, `[failed_precondition] ${text}`);
    return true;
  });
}

async function run(report, client) {
  const org = (await client.organization.createOrganization('Access')).organization.id;
  const [read, write] = [`${word('docs')}:read`, `${word('docs')}:write`];
  try {
    await permissions(report, client.permission, read, write);
    await roles(report, client, org, read, write);
    await organizationRoles(report, client, org, read);
    await defaults(report, client, org);
    await report.check('a deleted permission is not found', async () => {
      for (const name of [read, write]) {
        await client.permission.deletePermission(name);
        await notFound(() => client.permission.getPermission(name));
        await notFound(() => client.permission.deletePermission(name));
      }
    });
  } finally {
    await client.organization.deleteOrganization(org);
  }
}

async function permissions(report, api, read, write) {
  await report.check('permissions: create, get, update of the description, the newest first in the list', async () => {
    const { permission } = await api.createPermission({ name: read, description: 'Read documents' });
    assert.match(permission.id, /^perm_[0-9]+$/);
    assert.deepEqual([permission.name, permission.description, permission.isScalekitPermission], [read, 'Read documents', false]);
    await api.createPermission({ name: write, description: 'Write documents' });
    await api.updatePermission(read, { name: read, description: 'Read all documents' });
    assert.equal((await api.getPermission(read)).permission.description, 'Read all documents');
    const page = await api.listPermissions(undefined, 1);
    const next = await api.listPermissions(page.nextPageToken, 1);
    assert.deepEqual([names(page.permissions), names(next.permissions)], [[write], [read]]);
    assert.ok(names((await api.listPermissions()).permissions).includes(read), 'not in the list without a page size');
  });

  await report.check('a permission that exists, and names with a hyphen or the reserved sk_, are bad requests', async () => {
    for (const name of [read, 'docs-read', word('sk')]) await badRequest(() => api.createPermission({ name, description: 'x' }));
  });
}

async function roles(report, client, org, read, write) {
  const { role: api, permission, user: users } = client;
  const [base, child] = [word('editor'), word('chief')];

  await report.check('roles: create with a base, get, list, update, dependents', async () => {
    const { role } = await api.createRole({ name: base, displayName: 'Editor', permissions: [read] });
    assert.match(role.id, /^role_[0-9]+$/);
    assert.deepEqual([role.name, role.displayName, role.isOrgRole, role.defaultCreator, role.defaultMember], [base, 'Editor', false, false, false]);
    await api.createRole({ name: child, displayName: 'Chief', extends: base, permissions: [] });
    assert.equal((await api.getRole(child)).role.extends, base);
    const listed = names((await api.listRoles()).roles);
    for (const name of ['admin', 'member', base, child]) assert.ok(listed.includes(name), `${name} is not in the list`);
    assert.equal((await api.updateRole(base, { displayName: 'Editor in charge' })).role.displayName, 'Editor in charge');
    assert.deepEqual(names((await api.listDependentRoles(base)).roles), [child]);
  });

  await report.check("permissions of a role: add keeps the others, effective ones include the base's, remove", async () => {
    assert.deepEqual(names((await permission.addPermissionsToRole(child, [write])).permissions), [write]);
    assert.deepEqual(names((await permission.listRolePermissions(child)).permissions), [write]);
    assert.deepEqual(names((await permission.listEffectiveRolePermissions(child)).permissions), [read, write].sort());
    await permission.removePermissionFromRole(child, write);
    assert.deepEqual(names((await permission.listRolePermissions(child)).permissions), []);
    await notFound(() => permission.removePermissionFromRole(child, `${word('no')}:thing`));
    await notFound(() => permission.listEffectiveRolePermissions(word('no')));
  });

  await report.check('without its base a role has its own permissions only', async () => {
    await api.deleteRoleBase(child);
    assert.ok(!(await api.getRole(child)).role.extends, 'extends is still set');
    assert.deepEqual((await permission.listEffectiveRolePermissions(child)).permissions, []);
  });

  await report.check(`a role that users hold: ${ASSIGNED}; with a replacement they get that one`, async () => {
    const { user } = await users.createUserAndMembership(org, { email: address(), sendInvitationEmail: false });
    await users.updateMembership(org, user.id, { roles: [child] });
    assert.equal((await api.getRoleUsersCount(child)).count, 1n);
    await stands(() => api.deleteRole(child), ASSIGNED);
    await api.deleteRole(child, base);
    assert.deepEqual(names((await users.listUserRoles(org, user.id)).roles), [base]);
    await notFound(() => api.getRole(child));
    await users.deleteUser(user.id);
    assert.equal((await api.getRoleUsersCount(base)).count, 0n);
  });

  await report.check('a role name that exists and an unknown base are bad requests; an unknown role is not found', async () => {
    await badRequest(() => api.createRole({ name: base, displayName: 'Twin' }));
    await badRequest(() => api.createRole({ name: word('orphan'), displayName: 'x', extends: word('no') }));
    const unknown = word('no');
    for (const call of [
      () => api.getRole(unknown),
      () => api.updateRole(unknown, { displayName: 'x' }),
      () => api.deleteRole(unknown),
      () => api.listDependentRoles(unknown),
      () => api.getRoleUsersCount(unknown),
    ]) await notFound(call);
  });
  await api.deleteRole(base);
}

async function organizationRoles(report, client, org, read) {
  const { role: api, user: users } = client;
  const [name, child] = [word('lead'), word('deputy')];
  await report.check("organization roles: create, get, list beside the environment's, update, base, count", async () => {
    const { role } = await api.createOrganizationRole(org, { name, displayName: 'Lead', permissions: [read] });
    assert.deepEqual([role.name, role.isOrgRole], [name, true]);
    await api.createOrganizationRole(org, { name: child, displayName: 'Deputy', extends: name });
    assert.equal((await api.getOrganizationRole(org, child)).role.extends, name);
    const listed = Object.fromEntries((await api.listOrganizationRoles(org)).roles.map((found) => [found.name, found.isOrgRole]));
    assert.deepEqual([listed[name], listed.member], [true, false]);
    assert.equal((await api.updateOrganizationRole(org, name, { displayName: 'Head' })).role.displayName, 'Head');
    await api.deleteOrganizationRoleBase(org, child);
    assert.ok(!(await api.getOrganizationRole(org, child)).role.extends, 'extends is still set');
    assert.equal((await api.getOrganizationRoleUsersCount(org, name)).count, 0n);
  });

  await report.check("[MEM-06] the organization's default member role goes before the environment's", async () => {
    assert.equal((await api.updateDefaultOrganizationRoles(org, name)).defaultMember.name, name);
    const { user } = await users.createUserAndMembership(org, { email: address(), sendInvitationEmail: false });
    assert.deepEqual(names(user.memberships[0].roles), [name]);
    await users.deleteUser(user.id);
  });

  await report.check('a deleted organization role is not found', async () => {
    for (const gone of [child, name]) {
      await api.deleteOrganizationRole(org, gone);
      await notFound(() => api.getOrganizationRole(org, gone));
    }
  });
}

async function defaults(report, client, org) {
  const { role: api, user: users } = client;
  const name = word('guest');
  await api.createRole({ name, displayName: 'Guest' });
  await report.check("[MEM-06] the environment's default member role, moved alone, is what a member without roles gets", async () => {
    try {
      assert.equal((await api.updateDefaultRoles({ defaultMemberRole: name })).defaultMember.name, name);
      const { user } = await users.createUserAndMembership(org, { email: address(), sendInvitationEmail: false });
      assert.deepEqual(names(user.memberships[0].roles), [name]);
      await users.deleteUser(user.id);
    } finally {
      const back = await api.updateDefaultRoles({ defaultCreatorRole: 'admin', defaultMemberRole: 'member' });
      assert.deepEqual([back.defaultCreator.name, back.defaultMember.name], ['admin', 'member']);
    }
  });
  await api.deleteRole(name);
}

module.exports = { run };

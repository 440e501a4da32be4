'use strict';
// Sessions as the Node SDK asks for them. Empty answers and refusals: sessions themselves are in signin.js.
const assert = require('node:assert/strict');
const { address, notFound, badRequest, NOBODY } = require('./people');

const UNKNOWN = 'ses_100000000000000000';

async function run(report, client) {
  const org = (await client.organization.createOrganization('Sessions')).organization.id;
  const { user } = await client.user.createUserAndMembership(org, { email: address(), sendInvitationEmail: false });
  const { session: api } = client;
  try {
    await report.check('a user who never signed in has no sessions, with and without a filter, and none to revoke', async () => {
      const filter = { status: ['ACTIVE'], startTime: new Date(Date.now() - 3_600_000), endTime: new Date() };
      for (const options of [undefined, { pageSize: 10, filter }]) {
        const page = await api.getUserSessions(user.id, options);
        assert.deepEqual([page.sessions, page.totalSize, page.nextPageToken], [[], 0, '']);
      }
      assert.equal((await api.revokeAllUserSessions(user.id)).totalRevoked, 0);
    });

    await report.check('an unknown session is not found; an id of another kind is a bad request', async () => {
      for (const call of [() => api.getSession(UNKNOWN), () => api.revokeSession(UNKNOWN)]) await notFound(call);
      for (const call of [() => api.getSession(NOBODY), () => api.revokeSession('x')]) await badRequest(call);
    });
  } finally {
    await client.user.deleteUser(user.id);
    await client.organization.deleteOrganization(org);
  }
}

module.exports = { run };

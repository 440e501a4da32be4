'use strict';
// Sessions as the Node SDK asks for them, beyond those of signin.js, and the passkeys that were registered in them.
const assert = require('node:assert/strict');
const { execSync } = require('node:child_process');
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
  await passkeys(report, client);
}

async function passkeys(report, client) {
  const { webauthn: api, session: sessions } = client;
  const [user, session, passkey] = execSync(`${process.env.NARTHEX_PASSKEY} ${address()}`, { encoding: 'utf8' }).trim().split(' ');

  await report.check("[WAN-03 WAN-09] the user's passkeys are listed; one gets a name, then it is deleted and gone", async () => {
    const found = await api.listCredentials(user);
    assert.deepEqual(found.credentials.map((one) => [one.id, one.userId]), [[passkey, user]]);
    assert.equal(found.allAcceptedCredentialsOptions.rpId, 'localhost');
    const { credential } = await api.updateCredential(passkey, "Ada's laptop");
    assert.deepEqual([credential.id, credential.displayName], [passkey, "Ada's laptop"]);
    await badRequest(() => api.updateCredential(passkey, 'x'.repeat(121)));
    const gone = await api.deleteCredential(passkey);
    assert.ok(gone.success && gone.unknownCredentialOptions.credentialId, 'success and the options of the signal API');
    assert.deepEqual((await api.listCredentials(user)).credentials, []);
    for (const call of [() => api.updateCredential(passkey, 'x'), () => api.deleteCredential(passkey), () => api.listCredentials(NOBODY)]) {
      await notFound(call);
    }
  });

  await report.check("[SES-06] all of a user's sessions are revoked at once", async () => {
    const { revokedSessions } = await sessions.revokeAllUserSessions(user);
    assert.deepEqual(revokedSessions.map((one) => one.sessionId), [session]);
    assert.notEqual((await sessions.getSession(session)).status, 'active');
    assert.equal((await sessions.revokeAllUserSessions(user)).totalRevoked, 0);
  });
  await client.user.deleteUser(user);
}

module.exports = { run };

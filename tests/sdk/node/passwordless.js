'use strict';
// Codes and links by mail that the application itself sends and verifies, as the Node SDK does it.
const assert = require('node:assert/strict');
const { address, badRequest, notFound } = require('./people');

const PAGE = 'http://localhost:3999/magic';

async function run(report, client, origin) {
  const api = client.passwordless;
  const email = address();
  const options = { template: 1, magiclinkAuthUri: PAGE, state: 's-1', expiresIn: 600 };
  let sent, code;

  await report.check('[PWL-01 PWL-04 PWL-05] a mail is sent; its code verifies once and gives back address, state and template', async () => {
    sent = await api.sendPasswordlessEmail(email, options);
    assert.ok(sent.authRequestId && sent.expiresAt > 0n && sent.expiresIn === 600, sent.authRequestId);
    const mails = await (await fetch(`${origin}/dev/mail?to=${encodeURIComponent(email)}`)).json();
    code = mails[0].otp;
    const verified = await api.verifyPasswordlessEmail({ code }, sent.authRequestId);
    assert.deepEqual([verified.email, verified.state, verified.template], [email, 's-1', 1]);
  });

  await report.check('a mail is sent again for the same request, with a code that verifies', async () => {
    const again = address();
    const { authRequestId } = await api.sendPasswordlessEmail(again, options);
    assert.equal((await api.resendPasswordlessEmail(authRequestId)).authRequestId, authRequestId);
    const mails = await (await fetch(`${origin}/dev/mail?to=${encodeURIComponent(again)}`)).json();
    const verified = await api.verifyPasswordlessEmail({ code: mails[0].otp }, authRequestId);
    assert.deepEqual([mails.length, verified.email, verified.state], [2, again, 's-1']);
  });

  await report.check('[PWL-13 PWL-06] a code that was used already, a wrong one, an unknown link and an unknown request are refused', async () => {
    const other = await api.sendPasswordlessEmail(address(), options);
    for (const call of [
      () => api.verifyPasswordlessEmail({ code }, sent.authRequestId),
      () => api.verifyPasswordlessEmail({ code: '00000x' }, other.authRequestId),
      () => api.verifyPasswordlessEmail({ code }),
      () => api.verifyPasswordlessEmail({ linkToken: 'invented_l' }),
      () => api.sendPasswordlessEmail('nobody', options),
    ]) {
      await badRequest(call);
    }
    await notFound(() => api.verifyPasswordlessEmail({ code }, 'invented'));
    await notFound(() => api.resendPasswordlessEmail('invented'));
  });
}

module.exports = { run };

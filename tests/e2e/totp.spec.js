// The second factor of a login: an authenticator app's code, after the code of the mail.
const { test, expect } = require('@playwright/test');
const { createHmac } = require('node:crypto');
const { Application, PIN, address, arrived, go, look } = require('./application');

let app;
test.beforeAll(async () => { app = await Application.start({ NARTHEX_LOGIN__TOTP: 'true' }); });
test.afterAll(() => app.stop());

const heading = page => page.getByRole('heading', { level: 1 });

/** An authenticator app that has read a QR code (RFC 6238: SHA-1, six digits, steps of 30 seconds). */
class Authenticator {
  constructor(uri) {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
    const bits = [...new URL(uri).searchParams.get('secret')].map(letter => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
    this.key = Buffer.from(bits.match(/.{8}/g).map(byte => parseInt(byte, 2)));
  }

  /** The code that it shows `later` steps from now. */
  code(later = 0) {
    const step = Buffer.alloc(8);
    step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
    const mac = createHmac('sha1', this.key).update(step).digest();
    return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
  }

  wrong() {
    const near = [-3, -2, -1, 0, 1, 2, 3].map(later => this.code(later));
    return ['123456', '654321', '111111', '222222', '333333', '444444', '555555', '666666'].find(code => !near.includes(code));
  }
}

/** A member with an app, enabled by the code of now: that of the next step is left, and ten recovery codes. */
const member = async name => {
  const email = address(name);
  const user = await app.member(await app.organization('Acme'), email);
  const { totp_registration: { id, qr_code_uri } } = await app.call('POST', 'totp/registration', { user_id: user });
  const authenticator = new Authenticator(qr_code_uri);
  const { backup_codes } = await app.call('POST', `totp/${id}/enable`, { code: authenticator.code() });
  return { email, user, authenticator, backup_codes };
};

const cookies = async page => (await page.context().cookies(app.origin)).map(({ name }) => name);

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });
    const shown = async (page, name) => javaScriptEnabled && look(page, name);
    const boxes = javaScriptEnabled ? 6 : 1;

    test('[TOTP-02] [LGN-06] [LGN-07] a login asks the authenticator app, and the session answers from then on', async ({ page }) => {
      const { email, user, authenticator } = await member('totp');
      await app.signIn(page, email);
      await expect(heading(page)).toHaveText('Enter your code');
      expect(new URL(page.url()).pathname).toBe('/a/auth/totp');
      await expect(page.locator(PIN)).toHaveCount(boxes);
      await expect(page.locator(PIN).first()).toHaveAttribute('autocomplete', 'one-time-code');
      await expect(page.locator(PIN).first()).toHaveAttribute('inputmode', 'numeric');
      expect(await cookies(page)).not.toContain('__Host-narthex_session');
      await shown(page, 'totp');
      await app.enterCode(page, authenticator.wrong());
      await expect(page.getByRole('alert')).toHaveText('The code is not right. Check it and try again.');
      await shown(page, 'totp-problem');
      await app.enterCode(page, authenticator.code(1));
      const claims = await app.user((await arrived(page)).code);
      expect([claims.sub, claims.email]).toEqual([user, email]);
      expect(await cookies(page)).toContain('__Host-narthex_session');
      await page.goto(app.authorize({ prompt: 'none' }));
      expect((await arrived(page)).code).toBeTruthy();
    });

    test('[TOTP-02] [LGN-03] a recovery code takes the place of the app, once', async ({ page }) => {
      const { email, user, authenticator, backup_codes } = await member('recovery');
      await app.signIn(page, email);
      await page.getByRole('link', { name: 'Use a recovery code' }).click();
      await expect(heading(page)).toHaveText('Enter a recovery code');
      await shown(page, 'recovery-code');
      await page.getByLabel('Recovery code').fill(` ${backup_codes[0].toUpperCase()} `);
      await go(page);
      expect((await app.user((await arrived(page)).code)).sub).toBe(user);
      // Asked again, it is no good any more; the app is.
      await app.signIn(page, email, { prompt: 'login' });
      await page.getByRole('link', { name: 'Use a recovery code' }).click();
      await page.getByLabel('Recovery code').fill(backup_codes[0]);
      await go(page);
      await expect(page.getByRole('alert')).toHaveText('The code is not right. Check it and try again.');
      await page.getByRole('link', { name: 'Use your authenticator app' }).click();
      await app.enterCode(page, authenticator.code(1));
      expect((await arrived(page)).code).toBeTruthy();
    });

    test('[TOTP-02] five wrong codes close it for ten minutes, and the page says so', async ({ page }) => {
      const { email, authenticator } = await member('locked');
      await app.signIn(page, email);
      for (let tries = 0; tries < 5; tries++) await app.enterCode(page, authenticator.wrong());
      const answer = page.waitForResponse(response => response.request().method() === 'POST' && response.url().includes('/a/auth/totp'));
      await app.enterCode(page, authenticator.code(1));
      expect((await answer).status()).toBe(429);
      await expect(page.getByRole('alert')).toHaveText('Too many wrong codes. Wait ten minutes, then try again.');
      await shown(page, 'totp-locked');
      expect(await cookies(page)).not.toContain('__Host-narthex_session');
    });
  });
}

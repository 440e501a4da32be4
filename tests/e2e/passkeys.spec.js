// Passkeys in Chromium, with an authenticator of its own.
const { test, expect } = require('@playwright/test');
const { generateKeyPairSync } = require('node:crypto');
const { Application, Authenticator, address, arrived, home, look } = require('./application');

// One server, whose settings the tests change in turn.
test.describe.configure({ mode: 'default' });

const PROFILE = '/ui/profile/passkeys';

let app;
test.beforeAll(async () => {
  app = await Application.start();
  await app.passkeys();
});
test.afterAll(() => app.stop());

const member = async name => {
  const email = address(name);
  const organization = await app.organization(name);
  return { email, organization, user: await app.member(organization, email) };
};

const button = page => page.getByRole('button', { name: 'Continue with Passkey' });

/** Signs in by mail and adds a passkey on the profile page. */
const add = async (page, email) => {
  await app.signIn(page, email);
  await arrived(page);
  await page.goto(app.origin + PROFILE);
  await page.getByRole('button', { name: 'Add passkey' }).click();
  await expect(page.locator('summary')).toHaveCount(1);
};

/** A browser that knows nobody, on the same device. */
const forget = page => page.context().clearCookies();

test('[WAN-01] [WAN-02] [WAN-10] [LGN-11] [MRG-01] [USR-14] a passkey is made on the profile page and signs in by the button', async ({ page }) => {
  await app.passkeys({ enable_conditional_login: false });
  const { email, organization, user } = await member('maker');
  const authenticator = await Authenticator.of(page);
  await page.goto(app.origin + PROFILE);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('You are not logged in');
  await look(page, 'profile-logged-out');
  await app.signIn(page, email);
  const by_mail = await app.user((await arrived(page)).code);
  await page.goto(app.origin + PROFILE);
  await expect(page.getByText('You have no passkeys yet.')).toBeVisible();
  await look(page, 'passkeys-none');
  await page.getByRole('button', { name: 'Add passkey' }).click();
  await expect(page.locator('summary')).toContainText('Chrome');
  await expect(page.locator('summary')).toContainText('Linux');
  expect(await authenticator.credentials()).toHaveLength(1);
  await page.locator('summary').click();
  await page.getByLabel('Name of the passkey').fill('Desk key');
  await look(page, 'passkeys-open');
  await page.getByRole('button', { name: 'Rename' }).click();
  await expect(page.locator('summary')).toContainText('Desk key');
  // The authenticator that has one makes no second.
  await page.getByRole('button', { name: 'Add passkey' }).click();
  await expect(page.getByText('This device has a passkey for your account already.')).toBeVisible();
  await look(page, 'passkeys-exists');

  const first = (await app.call('GET', `users/${user}`)).user;
  await forget(page);
  await app.advance(60);
  await page.goto(app.authorize());
  await look(page, 'sign-in-passkey');
  await button(page).click();
  const by_passkey = await app.user((await arrived(page)).code);
  expect([by_passkey.sub, by_passkey.oid, by_passkey.email]).toEqual([by_mail.sub, organization, email]);
  expect(by_passkey.sid).not.toBe(by_mail.sid);
  const second = (await app.call('GET', `users/${user}`)).user;
  expect(Date.parse(second.last_login_time) - Date.parse(first.last_login_time)).toBeGreaterThanOrEqual(60_000);
  const types = second.user_profile.external_identities.map(identity => identity.connection_type).sort();
  expect(types).toEqual(['PASSWORDLESS', 'WEBAUTHN']);
  const row = (await app.call('GET', `webauthn/credentials?user_id=${user}`)).credentials[0];
  expect([row.display_name, row.user_agent?.browser ?? row.browser ?? row.client_info?.browser].join()).toContain('Desk key');

  await page.goto(app.authorize({ prompt: 'login' }));
  await expect(button(page).getByText('Last used')).toBeVisible();
});

test('[WAN-02] the email field offers the passkey, and nothing is typed or pressed', async ({ page }) => {
  await app.passkeys({ enable_conditional_login: true, show_passkey_button: false });
  const { email, user } = await member('autofill');
  await Authenticator.of(page);
  await add(page, email);
  await forget(page);
  await page.goto(app.authorize());
  expect((await app.user((await arrived(page)).code)).sub).toBe(user);
});

test('[WAN-02] [CFG-02] where passkeys are shown by neither, the page asks the authenticator for none', async ({ page }) => {
  await app.passkeys({ enable_conditional_login: false, show_passkey_button: false });
  const { email } = await member('neither');
  await Authenticator.of(page);
  await add(page, email);
  await forget(page);
  await page.goto(app.authorize());
  await expect(page.getByLabel('Email')).toHaveAttribute('autocomplete', 'username');
  await expect(button(page)).toHaveCount(0);
  await page.waitForTimeout(500);
  expect(new URL(page.url()).pathname).toBe('/a/auth/login');
});

test('[WAN-04] [WAN-09] a passkey that was deleted elsewhere is refused, and the device forgets it', async ({ page }) => {
  await app.passkeys({ enable_conditional_login: false, show_passkey_button: true });
  const { email, user } = await member('deleted');
  const authenticator = await Authenticator.of(page);
  await add(page, email);
  const { credentials } = await app.call('GET', `webauthn/credentials?user_id=${user}`);
  await app.call('DELETE', `webauthn/credentials/${credentials[0].id}`);
  await forget(page);
  await page.goto(app.authorize());
  expect(await authenticator.credentials()).toHaveLength(1);
  await button(page).click();
  await expect(page.getByRole('alert')).toHaveText('That did not work. Try again, or take another way.');
  await look(page, 'sign-in-passkey-refused');
  await expect(async () => expect(await authenticator.credentials()).toHaveLength(0)).toPass();
  // The other way is still there.
  await page.fill('input[name="email"]', email);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await app.enterCode(page, (await app.mail(email, 2)).otp);
  expect((await arrived(page)).code).toBeTruthy();
});

test('[WAN-04] [WAN-09] a passkey that is deleted on the profile page is gone from the device as well', async ({ page }) => {
  const { email } = await member('gone');
  const authenticator = await Authenticator.of(page);
  await add(page, email);
  await page.locator('summary').click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByText('You have no passkeys yet.')).toBeVisible();
  await expect(async () => expect(await authenticator.credentials()).toHaveLength(0)).toPass();
});

test('[WAN-07] a key that only claims to be the passkey is refused', async ({ page, browser }) => {
  await app.passkeys({ enable_conditional_login: false, show_passkey_button: true });
  const { email } = await member('claimed');
  const authenticator = await Authenticator.of(page);
  await add(page, email);
  const [credential] = await authenticator.credentials();
  const context = await browser.newContext();
  const other = await context.newPage();
  const thief = await Authenticator.of(other);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { credentialId, rpId, userHandle } = credential;
  const key = privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64');
  const forged = { credentialId, rpId, userHandle, isResidentCredential: true, privateKey: key, signCount: 100 };
  await thief.send('addCredential', { credential: forged });
  await other.goto(app.authorize());
  await button(other).click();
  await expect(other.getByRole('alert')).toBeVisible();
  expect(new URL(other.url()).pathname).toBe('/a/auth/login');
  // The forgery has not spoilt the real one.
  await forget(page);
  await page.goto(app.authorize());
  await button(page).click();
  expect((await arrived(page)).code).toBeTruthy();
  await context.close();
});

test('[WAN-07] an authenticator that knows nobody here, or whose user is not verified where they must be, does not sign in', async ({ page }) => {
  await app.passkeys({ enable_conditional_login: false, authenticator_selection: { user_verification: 'required' } });
  const { email } = await member('unverified');
  const authenticator = await Authenticator.of(page);
  await page.goto(app.authorize());
  await button(page).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await add(page, email);
  await forget(page);
  await authenticator.send('setUserVerified', { isUserVerified: false });
  await page.goto(app.authorize());
  await button(page).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await authenticator.send('setUserVerified', { isUserVerified: true });
  await button(page).click();
  expect((await arrived(page)).code).toBeTruthy();
  await app.passkeys({ authenticator_selection: { user_verification: 'preferred' } });
});

test('[WAN-08] after a login by mail a passkey is offered: put off, made, and not offered again', async ({ page }) => {
  await app.passkeys({ enable_auto_registration: true, enable_conditional_login: false });
  const { email, user } = await member('offered');
  const authenticator = await Authenticator.of(page);
  await app.signIn(page, email);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Log in faster next time');
  await look(page, 'offer-passkey');
  await page.getByRole('button', { name: 'Not now' }).click();
  expect((await arrived(page)).code).toBeTruthy();
  expect(await authenticator.credentials()).toHaveLength(0);

  await app.advance(60);
  await forget(page);
  await app.signIn(page, email);
  await page.getByRole('button', { name: 'Create a passkey' }).click();
  expect((await app.user((await arrived(page)).code)).sub).toBe(user);
  expect(await authenticator.credentials()).toHaveLength(1);

  await app.advance(60);
  await forget(page);
  await app.signIn(page, email);
  expect((await arrived(page)).code).toBeTruthy();
  await app.passkeys({ enable_auto_registration: false });
});

test('[WAN-08] a device whose user says no goes on without a passkey', async ({ page }) => {
  await app.passkeys({ enable_auto_registration: true, enable_conditional_login: false });
  const { email } = await member('refusing');
  await Authenticator.of(page, { hasResidentKey: false });
  await app.signIn(page, email);
  await page.getByRole('button', { name: 'Create a passkey' }).click();
  await expect(page.getByRole('alert')).toHaveText('That did not work. Try again, or take another way.');
  await look(page, 'offer-passkey-failed');
  await page.getByRole('button', { name: 'Not now' }).click();
  expect((await arrived(page)).code).toBeTruthy();
  await app.passkeys({ enable_auto_registration: false });
});

test('[WAN-01] the profile page says who is logged in and logs out', async ({ page }) => {
  const { email } = await member('leaver');
  await app.signIn(page, email);
  await arrived(page);
  await page.goto(app.origin + PROFILE);
  await expect(page.getByText(email)).toBeVisible();
  await page.getByRole('button', { name: 'Logout' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('You are logged out');
  await page.goto(app.authorize({ prompt: 'none' }));
  expect((await arrived(page)).error).toBe('login_required');
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('[WAN-08] the offer of a passkey says what it needs, and the login goes on', async ({ page }) => {
    await app.passkeys({ enable_auto_registration: true, show_passkey_button: true });
    const { email } = await member('scriptless');
    await app.signIn(page, email);
    // Playwright finds no text in there.
    await expect(page.locator('noscript .say')).toBeVisible();
    await expect(page.getByRole('button', { name: 'Create a passkey' })).toBeHidden();
    await page.getByRole('button', { name: 'Not now' }).click();
    expect((await arrived(page)).code).toBeTruthy();
    await page.goto(app.authorize({ prompt: 'login' }));
    await expect(button(page)).toBeHidden();
    await app.passkeys({ enable_auto_registration: false });
  });
});

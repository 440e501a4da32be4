// Logins in a browser, from the application's link to its callback.
const { test, expect } = require('@playwright/test');
const { Application, PIN, address, arrived, authorize, callback } = require('./application');

let app;
test.beforeAll(async () => { app = await Application.open(); });

test('[LGN-01] [LGN-06] [LGN-07] [PWO-02] a member signs in by a code typed into the first box', async ({ page }) => {
  const email = address('ann');
  const organization = await app.organization('Acme');
  await app.member(organization, email);
  await page.goto(authorize());
  expect(new URL(page.url()).pathname).toBe('/a/auth/login');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Login to your account');
  await expect(page.getByLabel('Email')).toHaveAttribute('placeholder', 'Enter your email address');
  await page.fill('input[name="email"]', email);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await expect(page.locator(PIN)).toHaveCount(6);
  const { otp } = await app.mail(email);
  await page.locator(PIN).first().click();
  await page.keyboard.type(otp);
  for (let box = 0; box < 6; box++) await expect(page.locator(PIN).nth(box)).toHaveValue(otp[box]);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  const { code, state } = await arrived(page);
  expect(state).toBe('opaque');
  const user = await app.user(code);
  expect([user.email, user.oid]).toEqual([email, organization]);
});

test('[LGN-07] a pasted code fills all boxes', async ({ page, context }) => {
  const email = address('paste');
  await page.goto(authorize());
  await page.fill('input[name="email"]', email);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  const { otp } = await app.mail(email);
  await page.locator(PIN).nth(2).click();
  await page.evaluate(text => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
    if (!document.activeElement.value) document.execCommand('insertText', false, text);
  }, otp);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  expect((await arrived(page)).code).toBeTruthy();
});

test('[SGN-01] [LGN-02] [PWO-02] a sign-up ends at the callback with a new organization', async ({ page }) => {
  const email = address('new');
  await page.goto(authorize({ prompt: 'create' }));
  expect(new URL(page.url()).pathname).toBe('/a/auth/signup');
  await expect(page.getByRole('button', { name: /passkey/i })).toHaveCount(0);
  await page.fill('input[name="email"]', email);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  const { otp } = await app.mail(email);
  await page.locator(PIN).first().click();
  await page.keyboard.type(otp);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  const user = await app.user((await arrived(page)).code);
  expect(user.email).toBe(email);
  expect(user.oid).toMatch(/^org_/);
});

test('[AUTHZ-10] [LGN-03] [LGN-04] [LGN-11] the session answers, a forced login asks again and knows the last method', async ({ page }) => {
  const email = address('again');
  const organization = await app.organization('Again');
  await app.member(organization, email);
  await app.signIn(page, email);
  const first = await app.user((await arrived(page)).code);
  await page.goto(authorize({ state: 'second' }));
  const second = await arrived(page);
  expect(second.state).toBe('second');
  expect((await app.user(second.code)).sid).toBe(first.sid);
  await page.goto(authorize({ prompt: 'none' }));
  expect((await arrived(page)).code).toBeTruthy();
  await page.goto(authorize({ prompt: 'login' }));
  expect(new URL(page.url()).pathname).toBe('/a/auth/login');
  await expect(page.getByText('Last used')).toBeVisible();
  await page.context().clearCookies();
  await page.goto(authorize({ prompt: 'none' }));
  expect((await arrived(page)).error).toBe('login_required');
});

test('[SWI-01] [SWI-02] [SES-07] organizations are chosen and switched', async ({ page }) => {
  const email = address('two');
  const [one, two] = [await app.organization('Northwind'), await app.organization('Southbay')];
  const user = await app.member(one, email);
  await app.call('POST', `memberships/organizations/${two}/users/${user}?send_invitation_email=false`, {});
  await app.signIn(page, email);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Choose your organization');
  await page.getByRole('button', { name: 'Southbay' }).click();
  const first = await app.user((await arrived(page)).code);
  expect(first.oid).toBe(two);
  await page.goto(authorize({ prompt: 'select_account' }));
  await page.getByRole('button', { name: 'Northwind' }).click();
  const second = await app.user((await arrived(page)).code);
  expect([second.oid, second.sid]).toEqual([one, first.sid]);
});

test('[SWI-03] [DOM-01] an allowed domain suggests, and a new organization can be made instead', async ({ page }) => {
  const email = `carl.${process.pid}@suggested.example`;
  const organization = await app.organization('Suggested');
  await app.call('POST', `organizations/${organization}/domains`, { domain: 'suggested.example', domain_type: 'ALLOWED_EMAIL_DOMAIN' });
  await app.signIn(page, email);
  await expect(page.getByRole('button', { name: /Suggested/ })).toBeVisible();
  await page.getByRole('link', { name: /create new/i }).click();
  await page.fill('input[name="organization_name"]', 'Carl and sons');
  await page.locator('button[type="submit"]').first().click();
  const user = await app.user((await arrived(page)).code);
  expect(user.oid).not.toBe(organization);
  const made = await app.call('GET', `organizations/${user.oid}`);
  expect(made.organization.display_name).toBe('Carl and sons');
  await page.goto(authorize({ prompt: 'select_account' }));
  await page.getByRole('button', { name: /Suggested/ }).click();
  expect((await app.user((await arrived(page)).code)).oid).toBe(organization);
});

test('[INV-01] [INV-02] an invitation is taken up and no login page follows', async ({ page }) => {
  const email = address('invited');
  const organization = await app.organization('Inviting');
  await app.call('POST', `organizations/${organization}/users`, { email });
  const mail = await app.mail(email);
  const link = mail.links.find(link => link.includes('/invite/'));
  await page.goto(link);
  await expect(page.getByText(email)).toBeVisible();
  await page.locator('button[type="submit"]').click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Inviting');
  await page.goto(authorize());
  const user = await app.user((await arrived(page)).code);
  expect([user.email, user.oid]).toEqual([email, organization]);
});

test('[LGN-13] two tabs each come to an end', async ({ context }) => {
  const email = address('tabs');
  const organization = await app.organization('Tabs');
  await app.member(organization, email);
  const [one, two] = [await context.newPage(), await context.newPage()];
  for (const [page, state] of [[one, 'one'], [two, 'two']]) {
    await page.goto(authorize({ state }));
    await page.fill('input[name="email"]', email);
  }
  await one.getByRole('button', { name: 'Continue', exact: true }).click();
  await one.waitForSelector(PIN);
  const first = (await app.mail(email)).otp;
  await two.getByRole('button', { name: 'Continue', exact: true }).click();
  await two.waitForSelector(PIN);
  const second = (await app.mail(email)).otp;
  for (const [page, otp, state] of [[two, second, 'two'], [one, first, 'one']]) {
    await page.locator(PIN).first().click();
    await page.keyboard.type(otp);
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    expect((await arrived(page)).state).toBe(state);
  }
});

test('[LGN-14] no other site can frame the pages, and their policy is strict', async ({ page }) => {
  const answer = await page.goto(authorize());
  const headers = answer.headers();
  expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
  expect(headers['content-security-policy']).toContain("script-src 'self'");
  expect(headers['content-security-policy']).not.toContain('unsafe');
  expect([headers['x-frame-options'], headers['x-content-type-options'], headers['cache-control']]).toEqual(['DENY', 'nosniff', 'no-store']);
  const refused = page.waitForEvent('console', message => message.text().includes('frame-ancestors'));
  await page.goto(`${callback()}?frame=${encodeURIComponent(page.url())}`);
  await refused;
});

test('[LGN-16] an unknown application is a page, everything else goes to the callback', async ({ page }) => {
  await page.goto(authorize({ client_id: 'skc_1' }));
  await expect(page.getByText('invalid_client')).toBeVisible();
  await page.goto(authorize({ redirect_uri: 'https://evil.example/cb' }));
  await expect(page.getByText('invalid_redirect_uri')).toBeVisible();
  await page.goto(authorize({ response_type: 'token' }));
  expect(await arrived(page)).toMatchObject({ error: 'unsupported_response_type', state: 'opaque' });
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('[PWO-02] a code signs in', async ({ page }) => {
    const email = address('plain');
    const organization = await app.organization('Plain');
    await app.member(organization, email);
    await page.goto(authorize());
    await page.fill('input[name="email"]', email);
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    await page.fill('input[name="code"]', (await app.mail(email)).otp);
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    expect((await app.user((await arrived(page)).code)).oid).toBe(organization);
  });

  test('[SWI-01] [INV-09] an organization is chosen and an invitation joined', async ({ page }) => {
    const email = address('chooser');
    const [one, two] = [await app.organization('Chosen'), await app.organization('Joined')];
    await app.member(one, email);
    await app.call('POST', `organizations/${two}/users`, { email });
    await app.mail(email);
    await page.goto(authorize({ prompt: 'select_account' }));
    await page.fill('input[name="email"]', email);
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    await page.waitForSelector('input[name="code"]');
    const { otp } = await app.mail(email);
    await page.fill('input[name="code"]', otp);
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    await page.getByRole('button', { name: /Joined/ }).click();
    expect((await app.user((await arrived(page)).code)).oid).toBe(two);
  });
});

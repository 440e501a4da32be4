// What an application says its pages look like, what they call an organization, and who may come in.
const { test, expect } = require('@playwright/test');
const { Application, address, arrived, callback, go, home, look } = require('./application');

// One server, whose settings the tests change in turn.
test.describe.configure({ mode: 'default' });

const LOGO = 'https://cdn.example.com/logo.svg';
const DARK_LOGO = 'https://cdn.example.com/dark.svg';
const ORGANIZATION_LOGO = 'https://cdn.example.com/globex.svg';
const BRAND = {
  app_name: 'Acme', logo_url: LOGO, logo_dark_url: DARK_LOGO, favicon_url: LOGO, primary_button_color: '#4f46e5', primary_button_text_color: '#ffffff',
  border_radius: 'large', background_color: '#eef2ff', logo_position: 'outside', logo_alignment: 'center', header_text_alignment: 'center',
  tos_url: 'https://acme.example/terms', privacy_url: 'https://acme.example/privacy', support_email: 'help@acme.example', powered_by: false,
};
const picture = (color, text) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="144" height="40"><rect width="144" height="40" rx="8" fill="${color}"/><text x="72" y="27" font-family="sans-serif" font-size="20" fill="#fff" text-anchor="middle">${text}</text></svg>`;
const PICTURES = { [LOGO]: picture('#4f46e5', 'ACME'), [DARK_LOGO]: picture('#818cf8', 'ACME'), [ORGANIZATION_LOGO]: picture('#b45309', 'Globex') };

let app;
test.beforeAll(async () => { app = await Application.start(); });
test.afterAll(() => app.stop());

// No picture is fetched from anywhere.
test.beforeEach(({ context }) =>
  context.route('https://cdn.example.com/**', route => route.fulfill({ contentType: 'image/svg+xml', body: PICTURES[route.request().url()] })));

const heading = page => page.getByRole('heading', { level: 1 });

/** The logo, as it is seen: loaded. */
const logo = async page => {
  const image = page.locator('.head img');
  await expect(image).toBeVisible();
  await expect(async () => expect(await image.evaluate(image => image.complete && image.naturalWidth)).toBeGreaterThan(0)).toPass();
  return image.evaluate(image => image.currentSrc);
};

test('[ORG-20] [LGN-05] [LGN-15] what was saved shows on every page of a login', async ({ page }) => {
  await page.goto(app.authorize());
  await expect(heading(page)).toHaveText('Login to your account');
  await app.brand(BRAND);
  const branded = async name => {
    expect(await logo(page), name).toBe(LOGO);
    await expect(page.getByRole('link', { name: 'Terms of Service' }), name).toHaveAttribute('href', BRAND.tos_url);
    await expect(page.getByRole('link', { name: 'Privacy Policy' }), name).toHaveAttribute('href', BRAND.privacy_url);
    await expect(page.getByRole('link', { name: 'Get help' }), name).toHaveAttribute('href', `mailto:${BRAND.support_email}`);
    await expect(page.getByText('Powered by'), name).toHaveCount(0);
    await expect(page.locator('body'), name).toHaveCSS('background-color', 'rgb(238, 242, 255)');
    await expect(page.locator('main .head img'), `${name}: the logo stands outside of the box`).toHaveCount(0);
    const primary = page.locator('.button.primary').first();
    if (await primary.count()) {
      await expect(primary, name).toHaveCSS('background-color', 'rgb(79, 70, 229)');
      await expect(primary, name).toHaveCSS('color', 'rgb(255, 255, 255)');
      await expect(primary, name).toHaveCSS('border-radius', '14px');
    }
    await look(page, `branded-${name}`);
  };
  await page.goto(app.authorize());
  await expect(heading(page)).toHaveText('Login to Acme');
  await branded('sign-in');
  await page.emulateMedia({ colorScheme: 'dark' });
  expect(await logo(page)).toBe(DARK_LOGO);
  await page.emulateMedia({ colorScheme: null });
  await page.goto(app.authorize({ prompt: 'create' }));
  await expect(heading(page)).toHaveText('Create your Acme account');
  await branded('sign-up');

  const email = address('branded');
  const [one, two] = [await app.organization('Northwind'), await app.organization('Southbay')];
  const user = await app.member(one, email);
  await app.call('POST', `memberships/organizations/${two}/users/${user}?send_invitation_email=false`, {});
  await page.goto(app.authorize());
  await page.fill('input[name="email"]', email);
  await go(page);
  await branded('code');
  await app.enterCode(page, (await app.mail(email)).otp);
  await branded('organizations');
  await page.getByRole('link', { name: 'Create new organization' }).click();
  await branded('create-organization');
  await page.getByRole('link', { name: 'Back' }).click();
  await page.getByRole('button', { name: 'Southbay' }).click();
  await arrived(page);

  const invited = address('invited');
  await app.call('POST', `organizations/${one}/users`, { email: invited });
  await page.goto((await app.mail(invited)).links.find(link => link.includes('/invite/')));
  await branded('invitation');
  await page.goto(`${app.origin}/ui/profile/passkeys`);
  await branded('passkeys');
  await page.goto(app.authorize({ client_id: 'skc_1' }));
  await branded('error');
  await page.goto(`${app.origin}/oidc/logout`);
  await branded('logged-out');
});

test('[LGN-15] placement and alignment are as they were set, and a picture of the application lies behind', async ({ page }) => {
  await app.brand({
    ...BRAND, logo_position: 'inside', logo_alignment: 'left', header_text_alignment: 'right', border_radius: 'small',
    background_style: 'linear-gradient(120deg, #bbf7d0 0%, #bfdbfe 100%)',
  });
  await page.goto(app.authorize());
  await expect(page.locator('main .head')).toHaveCSS('justify-content', 'flex-start');
  await expect(page.locator('.title')).toHaveCSS('text-align', 'right');
  await expect(page.locator('.button.primary')).toHaveCSS('border-radius', '4px');
  expect(await page.locator('body').evaluate(body => getComputedStyle(body).backgroundImage)).toContain('linear-gradient');
  await look(page, 'branded-gradient');
});

test('[ORG-18] [CTL-36] [LGN-05] an organization shows its logo and name where that is switched on and the login is for it', async ({ page }) => {
  const globex = await app.organization('Globex');
  await app.call('PATCH', `organizations/${globex}`, { logo_url: ORGANIZATION_LOGO });
  const plain = await app.organization('Initech');
  const at = async parameters => {
    await page.goto(app.authorize(parameters));
    return [await heading(page).textContent(), await logo(page)];
  };
  await app.brand({ ...BRAND, organization_logo_branding: true });
  expect(await at({ organization_id: globex })).toEqual(['Login to Globex', ORGANIZATION_LOGO]);
  await look(page, 'organization-sign-in');
  // Without a logo of its own, and without an organization, the application's stands.
  expect(await at({ organization_id: plain })).toEqual(['Login to Initech', LOGO]);
  expect(await at({})).toEqual(['Login to Acme', LOGO]);

  const email = address('globex');
  await app.member(globex, email);
  await at({ organization_id: globex });
  await page.fill('input[name="email"]', email);
  await go(page);
  expect(await logo(page)).toBe(ORGANIZATION_LOGO);
  await app.enterCode(page, (await app.mail(email)).otp);
  expect((await app.user((await arrived(page)).code)).oid).toBe(globex);

  await app.brand({ ...BRAND, organization_logo_branding: false });
  expect(await at({ organization_id: globex, prompt: 'login' })).toEqual(['Login to Acme', LOGO]);
});

test('[ORG-22] what the application calls an organization stands on the pages and in the mails', async ({ page }) => {
  await app.brand({ ...BRAND, organization_meta_name: 'Workspace' });
  const email = `carl.${process.pid}@workspaces.example`;
  const suggested = await app.organization('Umbrella');
  await app.call('POST', `organizations/${suggested}/domains`, { domain: 'workspaces.example', domain_type: 'ALLOWED_EMAIL_DOMAIN' });
  const member = await app.organization('Hooli');
  await app.member(member, email);
  const inviting = await app.organization('Initrode');
  await app.call('POST', `organizations/${inviting}/users`, { email });
  const invitation = await app.mail(email);
  expect(invitation.text).toContain('the workspace Initrode on Acme');
  expect(invitation.html).toContain('the workspace Initrode on Acme');

  await app.signIn(page, email, { prompt: 'select_account' });
  await expect(heading(page)).toHaveText('Choose your workspace');
  await expect(page.getByRole('button', { name: /Initrode/ })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Your Workspaces' })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Suggested Workspaces' })).toBeVisible();
  await expect(page.locator('main')).not.toContainText(/organization/i);
  await look(page, 'workspaces');
  await page.getByRole('link', { name: 'Create new workspace' }).click();
  await expect(heading(page)).toHaveText('Create your workspace');
  await expect(page.getByLabel('Workspace name')).toBeVisible();
  await expect(page.locator('main')).not.toContainText(/organization/i);
  await page.fill('input[name="organization_name"]', 'Pied Piper');
  await go(page);
  const { oid } = await app.user((await arrived(page)).code);
  expect((await app.call('GET', `organizations/${oid}`)).organization.display_name).toBe('Pied Piper');
});

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });

    test('[SGN-03] [LGN-12] where nobody may sign up, no link leads there, and nobody new comes in', async ({ page }) => {
      await app.brand(BRAND);
      await page.goto(app.authorize());
      await expect(page.getByRole('link', { name: 'Sign Up' })).toBeVisible();
      await app.userManagement({ allow_organization_signup: false });
      await page.goto(app.authorize());
      await expect(page.getByRole('link', { name: 'Sign Up' })).toHaveCount(0);
      await page.goto(app.authorize({ prompt: 'create' }));
      expect(new URL(page.url()).pathname).toBe('/a/auth/login');
      const stranger = address('stranger');
      await app.signIn(page, stranger, { prompt: 'create' });
      expect((await arrived(page)).error).toBe('access_denied');
      // Who belongs somewhere is let in, and is offered no organization of their own.
      const email = address('known');
      const [one, two] = [await app.organization('First'), await app.organization('Second')];
      const user = await app.member(one, email);
      await app.call('POST', `memberships/organizations/${two}/users/${user}?send_invitation_email=false`, {});
      await app.signIn(page, email);
      await expect(page.getByRole('link', { name: /create new/i })).toHaveCount(0);
      await page.getByRole('button', { name: 'First' }).click();
      expect((await arrived(page)).code).toBeTruthy();
      await app.userManagement({ allow_organization_signup: true });
    });

    test('[DOM-03] where public mail services are blocked, their addresses do not sign up', async ({ page }) => {
      await app.brand(BRAND);
      await app.userManagement({ block_public_email_domains: true });
      await page.goto(app.authorize({ prompt: 'create' }));
      await page.fill('input[name="email"]', `someone.${process.pid}@gmail.com`);
      await go(page);
      await expect(page.getByRole('alert')).toHaveText('Sign up with your work email address.');
      if (javaScriptEnabled) await look(page, 'sign-up-refused');
      await expect(page.locator('input[name="email"]')).toHaveAttribute('aria-describedby', 'problem');
      await app.userManagement({ block_public_email_domains: false });
    });

    test('[LGN-10] a page of no login leads to where the application begins one, and a browser without cookies goes round no circle', async ({ page }) => {
      await app.brand(BRAND);
      const begin = `${home()}/begin`;
      await app.call('PATCH', `clients/${app.client}`, { initiate_login_uri: begin });
      for (const path of ['/a/auth/login', '/a/auth/verify?req=req_1', '/a/auth/consent?req=nonsense']) {
        await page.goto(app.origin + path);
        expect(page.url(), path).toBe(begin);
      }
      await page.goto(app.authorize());
      const bookmark = page.url();
      await page.context().clearCookies();
      await page.goto(bookmark);
      await expect(heading(page)).toHaveText(/cookies/i);
      if (javaScriptEnabled) await look(page, 'cookies');
      await app.advance(11);
      await page.goto(bookmark);
      expect(page.url()).toBe(begin);
      // An hour later the login is over even for its own browser; the way back after its end as well.
      await page.goto(app.authorize());
      const late = page.url();
      await app.advance(3601);
      await page.goto(late);
      expect(page.url()).toBe(begin);
      await app.call('PATCH', `clients/${app.client}`, { initiate_login_uri: '' });
      await page.goto(late);
      await expect(page.getByText('This login is no longer valid.')).toBeVisible();
      if (javaScriptEnabled) await look(page, 'over');
      expect(callback()).toContain('/callback');
    });
  });
}

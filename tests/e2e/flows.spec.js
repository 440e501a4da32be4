// Consent, invitations, errors and logouts, with a script and without.
const { test, expect } = require('@playwright/test');
const { execFileSync } = require('node:child_process');
const { dirname } = require('node:path');
const { Application, address, arrived, authorize, callback, go, home, look } = require('./application');

let app;
let resource;
let agent;
test.beforeAll(async () => {
  app = await Application.open();
  [resource, agent] = await todo();
});

const heading = page => page.getByRole('heading', { level: 1 });

/** A resource with two scopes, and a client that registers itself there. */
const todo = async () => {
  const operator = execFileSync(process.env.NARTHEX_E2E_BINARY, ['admin', 'token', '--dir', dirname(process.env.NARTHEX_CA_FILE)], { encoding: 'utf8' });
  const headers = { authorization: `Bearer ${operator.trim()}` };
  const own = address('todo').replace(/\W/g, '');
  const scopes = { [`read:${own}`]: 'Read your list', [`write:${own}`]: 'Change your list' };
  for (const [name, description] of Object.entries(scopes)) {
    await app.send('POST', `/api/v1/environments/${await app.environment()}/scopes`, { name, description }, headers);
  }
  const names = Object.keys(scopes);
  const made = await app.call('POST', 'resources', {
    name: 'Todo', resource_type: 'MCP_SERVER', scopes: names, resource_scope_selection_allowed: true,
  });
  const registered = await app.send('POST', `/api/v1/resources/${made.resource.id}/clients:register`, {
    client_name: 'Cursor', redirect_uris: [callback()], token_endpoint_auth_method: 'none',
  });
  return [{ id: made.resource.id, names }, registered.client_id];
};

const consent = (more = {}) =>
  app.authorize({ client_id: agent, scope: `openid email ${resource.names.join(' ')}`, ...more }, `/resources/${resource.id}/oauth/authorize`);

const signIn = async (page, email) => {
  await page.fill('input[name="email"]', email);
  await go(page);
  await app.enterCode(page, (await app.mail(email)).otp);
};

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });
    const shown = async (page, name) => javaScriptEnabled && look(page, name);

    test('[SGN-01] [LGN-02] a sign-up names its organization nowhere and ends at the callback', async ({ page }) => {
      const email = address('founder');
      await page.goto(authorize());
      await page.getByRole('link', { name: 'Sign Up' }).click();
      await expect(heading(page)).toHaveText('Create your account');
      await shown(page, 'sign-up');
      await page.fill('input[name="email"]', 'nonsense@');
      await page.locator('input[name="email"]').evaluate(field => { field.form.noValidate = true; });
      await go(page);
      await expect(page.getByRole('alert')).toHaveText('Enter a valid email address.');
      await shown(page, 'sign-up-problem');
      await signIn(page, email);
      const user = await app.user((await arrived(page)).code);
      expect(user.email).toBe(email);
    });

    test('[SWI-03] [DOM-01] an organization is made instead of the suggested one, that is joined later, and one is switched for the other', async ({ page }) => {
      const domain = `suggested${javaScriptEnabled ? 1 : 2}.example`;
      const email = `dora.${process.pid}@${domain}`;
      const organization = await app.organization('Suggested');
      await app.call('POST', `organizations/${organization}/domains`, { domain, domain_type: 'ALLOWED_EMAIL_DOMAIN' });
      await page.goto(authorize());
      await signIn(page, email);
      await expect(page.getByRole('heading', { name: 'Suggested Organizations' })).toBeVisible();
      await shown(page, 'suggested');
      await page.getByRole('link', { name: 'Create new organization' }).click();
      await shown(page, 'create-organization');
      await page.fill('input[name="organization_name"]', 'Dora and daughters');
      await go(page);
      const { oid } = await app.user((await arrived(page)).code);
      expect(oid).not.toBe(organization);
      await page.goto(authorize({ prompt: 'select_account' }));
      await page.getByRole('button', { name: /Suggested/ }).click();
      expect((await app.user((await arrived(page)).code)).oid).toBe(organization);
      await page.goto(authorize({ prompt: 'select_account' }));
      await expect(page.getByRole('list', { name: 'Your Organizations' }).getByRole('button')).toHaveCount(2);
      await shown(page, 'switch');
      await page.getByRole('button', { name: 'Dora and daughters' }).click();
      expect((await app.user((await arrived(page)).code)).oid).toBe(oid);
      // Who is somebody else logs out of the chooser.
      await page.goto(authorize({ prompt: 'select_account' }));
      await page.getByRole('button', { name: 'Logout' }).click();
      await expect(heading(page)).toHaveText('You are logged out');
      await page.goto(authorize({ prompt: 'none' }));
      expect((await arrived(page)).error).toBe('login_required');
    });

    test('[INV-01] [INV-02] an invitation is taken up by its button, once', async ({ page, browser }) => {
      const email = address('guest');
      const organization = await app.organization('Hosting');
      await app.call('POST', `organizations/${organization}/users`, { email });
      const link = (await app.mail(email)).links.find(link => link.includes('/invite/'));
      // Opening it is not taking it up.
      await app.api.get(link);
      await page.goto(link);
      await expect(heading(page)).toHaveText('Join Hosting');
      await shown(page, 'invitation');
      await page.getByRole('button', { name: 'Accept Invitation' }).click();
      await expect(heading(page)).toHaveText('You have joined Hosting');
      await shown(page, 'invitation-accepted');
      await page.goto(authorize());
      expect((await app.user((await arrived(page)).code)).oid).toBe(organization);
      const context = await browser.newContext({ javaScriptEnabled });
      const other = await context.newPage();
      await other.goto(link);
      await expect(heading(other)).toHaveText('This invitation cannot be used any more');
      await shown(other, 'invitation-used');
      await context.close();
    });

    test('[MCP-31] [MCP-32] a client of a resource gets what was agreed to, and nothing where it was denied', async ({ page }) => {
      const email = address('consenting');
      const organization = await app.organization('Consenting');
      await app.member(organization, email);
      await page.goto(consent());
      await signIn(page, email);
      await expect(heading(page)).toHaveText('Cursor wants access to Todo');
      await expect(page.getByText('Not verified')).toBeVisible();
      await expect(page.getByText('You will be sent to localhost')).toBeVisible();
      await shown(page, 'consent');
      await page.getByRole('button', { name: 'Deny' }).click();
      expect(await arrived(page)).toMatchObject({ error: 'access_denied', state: 'opaque' });

      await page.goto(consent());
      await page.getByLabel('Change your list').uncheck();
      await page.getByRole('button', { name: 'Allow' }).click();
      expect((await arrived(page)).code).toBeTruthy();
      const { consents } = await app.call('GET', `user_consents?resource_id=${resource.id}`);
      expect(consents.some(given => String(given.scopes) === String(['openid', 'email', resource.names[0]]))).toBe(true);
      // What was agreed to is not asked again; somebody else is asked first who they are.
      await page.goto(consent({ scope: `openid ${resource.names[0]}` }));
      expect((await arrived(page)).code).toBeTruthy();
      await page.goto(consent());
      await page.getByRole('button', { name: /Use another account|Switch/ }).click();
      await expect(heading(page)).toHaveText('You are logged out');
    });

    test('[LGN-16] [LGN-17] [LGN-05] an error that the application cannot be told has a page, which its id finds again', async ({ page }) => {
      await page.goto(authorize({ redirect_uri: 'https://evil.example/cb' }));
      await expect(page.getByText('invalid_redirect_uri')).toBeVisible();
      const id = await page.getByText(/^err_\d+$/).textContent();
      const said = await page.locator('.title p').textContent();
      await page.goto(`${app.origin}/a/auth/error/${id}`);
      await expect(page.locator('.title p')).toHaveText(said);
      await expect(page.getByText('invalid_redirect_uri')).toBeVisible();
      await shown(page, 'error');
      expect((await page.goto(`${app.origin}/a/auth/error/err_1`)).status()).toBe(404);
      // The other site was never gone to.
      expect(new URL(page.url()).origin).toBe(app.origin);
    });

    test('[OIDC-06] a logout ends the session: with a hint at the application, without one here, and astray nowhere', async ({ page }) => {
      const organization = await app.organization('Leaving');
      /** Signs somebody in; the ID token. */
      const tokenOf = async name => {
        const email = address(name);
        await app.member(organization, email);
        await app.signIn(page, email);
        return (await app.tokens((await arrived(page)).code)).id_token;
      };
      const leave = parameters => page.goto(`${app.origin}/oidc/logout?${new URLSearchParams(parameters)}`);
      const over = async () => {
        await page.goto(authorize({ prompt: 'none' }));
        expect((await arrived(page)).error).toBe('login_required');
      };
      await leave({ id_token_hint: await tokenOf('hinted'), post_logout_redirect_uri: `${home()}/bye`, state: 'later' });
      expect(page.url()).toBe(`${home()}/bye?state=later`);
      await over();
      await tokenOf('plain');
      await leave({});
      await expect(heading(page)).toHaveText('You are logged out');
      await shown(page, 'logged-out');
      await over();
      await leave({ id_token_hint: await tokenOf('astray'), post_logout_redirect_uri: 'https://evil.example/bye' });
      await expect(page.getByText('invalid_redirect_uri')).toBeVisible();
      await shown(page, 'logout-astray');
      await over();
    });
  });
}

// The applications under examples/, in a browser: sign in with the code of the mailbox or by passkey, see who and where, sign out.
const { test, expect } = require('@playwright/test');
const { execFileSync, spawn } = require('node:child_process');
const { createServer } = require('node:net');
const { join } = require('node:path');
const { Application, Authenticator, PIN, address } = require('./application');

const ROOT = join(__dirname, '../..');
const BUILT = join(ROOT, 'target/sdk');
const EXAMPLES = {
  express: { command: 'node', file: 'examples/express/server.js', variables: { NODE_PATH: join(BUILT, 'example-express/node_modules') } },
  fastapi: { command: join(BUILT, 'example-fastapi/bin/python'), file: 'examples/fastapi/main.py', variables: {} },
};

const freePort = () =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Starts an example and leaves the page open at its home. */
const start = async (page, name, settings = {}) => {
  const { command, file, variables } = EXAMPLES[name];
  const home = `http://localhost:${await freePort()}/`;
  const example = spawn(command, [join(ROOT, file)], {
    env: { ...process.env, ...variables, ...settings, PORT: new URL(home).port }, stdio: 'inherit',
  });
  const stop = () => example.kill();
  try {
    await expect(async () => expect((await page.goto(home)).status()).toBe(200)).toPass({ timeout: 20_000 });
  } catch (error) {
    stop();
    throw error;
  }
  return { home, stop };
};

/** From the example's home to what follows the code of the mailbox. */
const signIn = async (page, app, email) => {
  await page.getByRole('link', { name: 'Sign in' }).click();
  await page.fill('input[name="email"]', email);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await page.waitForSelector(PIN);
  const { otp } = await app.mail(email);
  await page.locator(PIN).first().click();
  await page.keyboard.type(otp);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
};

/** The page of whoever has signed in, and the way out again. */
const seeAndLeave = async (page, home, email) => {
  await page.waitForURL(home);
  await expect(page.getByText(`Signed in as ${email} in `)).toBeVisible();
  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.waitForURL(home);
  await page.getByRole('link', { name: 'Sign in' }).click();
  await expect(page.locator('input[name="email"]')).toBeVisible();
};

for (const name of Object.keys(EXAMPLES)) {
  test(`[OPS-01] [PWO-02] [OIDC-06] the ${name} example signs in by a mailed code and out again`, async ({ page }) => {
    const { home, stop } = await start(page, name);
    try {
      const email = address(name);
      await signIn(page, await Application.open(), email);
      await seeAndLeave(page, home, email);
    } finally {
      stop();
    }
  });

  test(`[WAN-02] [WAN-08] [OIDC-06] the ${name} example signs in by the passkey that its first login made`, async ({ page }) => {
    test.setTimeout(60_000);
    const app = await Application.start();
    let example;
    try {
      const settings = { SCALEKIT_ENVIRONMENT_URL: app.origin, SCALEKIT_CLIENT_ID: app.client, SCALEKIT_CLIENT_SECRET: app.secret };
      // As the README has it.
      execFileSync(join(ROOT, 'examples/passkeys.sh'), { env: { ...process.env, ...settings } });
      example = await start(page, name, settings);
      const authenticator = await Authenticator.of(page);
      const email = address(name);
      await signIn(page, app, email);
      await page.getByRole('button', { name: 'Create a passkey' }).click();
      await seeAndLeave(page, example.home, email);
      expect(await authenticator.credentials()).toHaveLength(1);
      await page.getByRole('button', { name: 'Continue with Passkey' }).click();
      await seeAndLeave(page, example.home, email);
      expect(await app.mails(email), 'the passkey needed no mail').toHaveLength(1);
    } finally {
      example?.stop();
      await app.stop();
    }
  });
}

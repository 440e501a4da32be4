// The applications under examples/, in a browser: sign in with the code of the mailbox, see who and where, sign out.
const { test, expect } = require('@playwright/test');
const { spawn } = require('node:child_process');
const { createServer } = require('node:net');
const { join } = require('node:path');
const { Application, PIN, address } = require('./application');

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

for (const [name, { command, file, variables }] of Object.entries(EXAMPLES)) {
  test(`[OPS-01] [PWO-02] [OIDC-06] the ${name} example signs in by a mailed code and out again`, async ({ page }) => {
    const home = `http://localhost:${await freePort()}/`;
    const example = spawn(command, [join(ROOT, file)], { env: { ...process.env, ...variables, PORT: new URL(home).port }, stdio: 'inherit' });
    try {
      await expect(async () => expect((await page.goto(home)).status()).toBe(200)).toPass({ timeout: 20_000 });
      const email = address(name);
      await page.getByRole('link', { name: 'Sign in' }).click();
      await page.fill('input[name="email"]', email);
      await page.getByRole('button', { name: 'Continue', exact: true }).click();
      await page.waitForSelector(PIN);
      const { otp } = await (await Application.open()).mail(email);
      await page.locator(PIN).first().click();
      await page.keyboard.type(otp);
      await page.getByRole('button', { name: 'Continue', exact: true }).click();
      await page.waitForURL(home);
      await expect(page.getByText(`Signed in as ${email} in `)).toBeVisible();
      await page.getByRole('link', { name: 'Sign out' }).click();
      await page.waitForURL(home);
      await page.getByRole('link', { name: 'Sign in' }).click();
      await expect(page.locator('input[name="email"]')).toBeVisible();
    } finally {
      example.kill();
    }
  });
}

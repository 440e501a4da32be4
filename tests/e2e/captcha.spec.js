// Bot detection: the widget on the pages of a login, drawn by a stand-in for the provider (captcha.js).
const { test, expect } = require('@playwright/test');
const { join } = require('node:path');
const { Application, PIN, SHOTS, address, arrived, go, look } = require('./application');
const { FRAME, Provider } = require('./captcha');

// One server, whose settings the tests change in turn.
test.describe.configure({ mode: 'default' });

const OTP = { type: 'OTP', validity: 300, enforce_same_browser_origin: false };
const FIELD = '[name="g-recaptcha-response"]';
const REFUSED = 'Complete the check that you are not a robot, and try again.';

let provider;
let app;
test.beforeAll(async () => {
  provider = await Provider.start();
  app = await Application.start(provider.settings());
});
test.afterAll(async () => {
  await app?.stop();
  provider.stop();
});
test.beforeEach(async () => {
  provider.down = false;
  await app.passwordless(OTP);
  await app.userManagement({ enable_bot_detection: true, enable_fail_open: false });
});

const heading = page => page.getByRole('heading', { level: 1 });
const box = page => page.frameLocator(`iframe[title="${FRAME}"]`).getByRole('checkbox');
const problem = page => page.locator('#problem');
const open = page => page.locator('[data-captcha-open]');
const press = page => page.getByRole('button', { name: 'Continue', exact: true }).click();

/** A widget that is there, and that nobody has solved yet. */
const fresh = async page => {
  await expect(page.locator(`iframe[title="${FRAME}"]`)).toHaveCount(1);
  await expect(box(page)).toHaveAttribute('aria-checked', 'false');
  await expect(page.locator(FIELD)).toHaveValue('');
  await expect(page.locator(FIELD)).toBeHidden();
};

const solve = async page => {
  await box(page).click();
  await expect(page.locator(FIELD)).toHaveValue(/^token-\d+$/);
};

const type = async (page, code) => {
  await page.locator(PIN).first().click();
  await page.keyboard.type(code);
};

const wrong = otp => otp.replace(/^./, digit => (digit === '9' ? '0' : String(Number(digit) + 1)));

const member = async name => {
  const email = address(name);
  const organization = await app.organization('Acme');
  return { email, organization, user: await app.member(organization, email) };
};

/** What the browser complains of, above all what the policy of a page refuses. */
const complaints = async page => {
  const found = [];
  await page.addInitScript(() =>
    addEventListener('securitypolicyviolation', event => console.error(`policy: ${event.violatedDirective} refuses ${event.blockedURI}`)));
  page.on('console', message => ['error', 'warning'].includes(message.type()) && found.push(`${page.url()}: ${message.text()}`));
  page.on('pageerror', error => found.push(`${page.url()}: ${error}`));
  return found;
};

test('[SEC-02] a login asks for the captcha at every step, and each answer has a fresh one', async ({ page }) => {
  const found = await complaints(page);
  const { email, user } = await member('checked');
  await page.goto(app.authorize());
  await fresh(page);
  await page.fill('input[name="email"]', email);
  await look(page, 'captcha-sign-in');

  // Unsolved, it is a word on the page, and what was typed stays.
  const login = page.url();
  await expect(open(page)).toBeHidden();
  await press(page);
  await expect(page.getByRole('alert')).toHaveText('Complete the check first.');
  expect(page.url()).toBe(login);
  await look(page, 'captcha-open');
  // Whoever insists hears it from the server.
  await go(page);
  await expect(problem(page)).toHaveText(REFUSED);
  await expect(page.locator('input[name="email"]')).toHaveValue(email);
  await fresh(page);
  await look(page, 'captcha-refused');
  expect(await app.mails(email)).toEqual([]);
  expect(provider.asked, 'about nothing, nobody is asked').toEqual([]);

  await solve(page);
  await look(page, 'captcha-solved');
  await go(page);
  await expect(heading(page)).toHaveText('Check your email');
  await fresh(page);
  await look(page, 'captcha-code');
  const { otp } = await app.mail(email);
  expect(provider.asked).toHaveLength(1);

  // The right code alone is not tried.
  await type(page, otp);
  await press(page);
  await expect(open(page)).toBeVisible();
  await go(page);
  await expect(problem(page)).toHaveText(REFUSED);
  await fresh(page);
  await solve(page);
  await app.enterCode(page, wrong(otp));
  await expect(problem(page)).toHaveText('The code is not right. Check it and try again.');
  await fresh(page);
  await look(page, 'captcha-wrong-code');
  await solve(page);
  await app.enterCode(page, otp);
  expect((await app.user((await arrived(page)).code)).sub).toBe(user);
  expect(new Set(provider.asked.map(({ response }) => response)).size, 'each answer had a token of its own').toBe(3);

  expect(found).toEqual([]);
  // What was listened to would have been heard.
  await page.goto(app.authorize({ prompt: 'login' }));
  await fresh(page);
  await page.evaluate(() => document.head.append(Object.assign(document.createElement('script'), { src: 'https://elsewhere.example/x.js' })));
  await expect(() => expect(found.join()).toContain('policy: script-src-elem refuses https://elsewhere.example/x.js')).toPass();
});

test('[SEC-02] another mail is sent for another captcha', async ({ page }) => {
  const { email } = await member('again');
  await page.clock.install();
  await page.goto(app.authorize());
  await page.fill('input[name="email"]', email);
  await solve(page);
  await go(page);
  await fresh(page);
  const resend = page.getByRole('button', { name: 'Resend code' });
  await expect(resend).toHaveCount(0);
  await page.clock.fastForward(31_000);
  await resend.click();
  await expect(open(page)).toBeVisible();
  await resend.click();
  await expect(problem(page)).toHaveText(REFUSED);
  expect(await app.mails(email)).toHaveLength(1);
  await fresh(page);
  await page.clock.fastForward(31_000);
  await solve(page);
  await resend.click();
  await expect(page.getByRole('status')).toHaveText('We have sent it again.');
  await fresh(page);
  await solve(page);
  await app.enterCode(page, (await app.mail(email, 2)).otp);
  expect((await arrived(page)).code).toBeTruthy();
});

test('[SEC-02] where a mail has a link and no code, the form for another one has the widget', async ({ page }) => {
  await app.passwordless({ ...OTP, type: 'LINK' });
  const { email, user } = await member('link');
  await page.clock.install();
  await page.goto(app.authorize());
  await page.fill('input[name="email"]', email);
  await solve(page);
  await go(page);
  await fresh(page);
  await look(page, 'captcha-link');
  await page.clock.fastForward(31_000);
  const resend = page.getByRole('button', { name: 'Resend' });
  await resend.click();
  await expect(open(page)).toBeVisible();
  await look(page, 'captcha-link-open');
  await solve(page);
  await resend.click();
  await expect(page.getByRole('status')).toHaveText('We have sent it again.');
  // The link is proof enough.
  await page.goto((await app.mail(email, 2)).links.find(link => link.includes('/magicLink/')));
  await expect(page.locator('iframe')).toHaveCount(0);
  expect((await app.user((await arrived(page)).code)).sub).toBe(user);
});

test('[SEC-02] whoever goes back in the history finds a widget that works', async ({ page }) => {
  const { email } = await member('back');
  await page.goto(app.authorize());
  await page.fill('input[name="email"]', email);
  await solve(page);
  await go(page);
  await expect(heading(page)).toHaveText('Check your email');
  await page.goBack();
  await fresh(page);
  await page.fill('input[name="email"]', email);
  await solve(page);
  // A browser that kept the whole page says so. This one keeps none under test: the event stands for it.
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  await fresh(page);
  await solve(page);
  await go(page);
  await expect(heading(page)).toHaveText('Check your email');
  await fresh(page);
  await solve(page);
  await app.enterCode(page, (await app.mail(email, 2)).otp);
  expect((await arrived(page)).code).toBeTruthy();
});

test('[SEC-02] where no widget can be drawn the page says what is the matter, and fail-open lets people in', async ({ page }) => {
  const { email } = await member('down');
  provider.down = true;
  await page.goto(app.authorize());
  await page.fill('input[name="email"]', email);
  await go(page);
  await expect(problem(page)).toHaveText(REFUSED);
  expect(await app.mails(email)).toEqual([]);

  await app.userManagement({ enable_fail_open: true });
  await app.signIn(page, email);
  expect((await arrived(page)).code).toBeTruthy();
  // It is back, and so is the question.
  provider.down = false;
  await page.goto(app.authorize({ prompt: 'login' }));
  await fresh(page);
  await page.fill('input[name="email"]', email);
  await press(page);
  await go(page);
  await expect(problem(page)).toHaveText(REFUSED);
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('[SEC-02] the page says that the captcha needs it', async ({ page }) => {
    const { email } = await member('plain');
    await page.goto(app.authorize());
    const needed = page.locator('form noscript > *');
    await expect(needed).toContainText('The check needs JavaScript, which is switched off in this browser.');
    await expect(needed).toBeVisible();
    await expect(page.locator('iframe')).toHaveCount(0);
    await page.screenshot({ path: join(SHOTS, 'flows', 'captcha-without-javascript.png'), fullPage: true });
    await page.fill('input[name="email"]', email);
    await go(page);
    await expect(problem(page)).toHaveText(REFUSED);
    await expect(needed).toBeVisible();
    expect(await app.mails(email)).toEqual([]);
  });
});

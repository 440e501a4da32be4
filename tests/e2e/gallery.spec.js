// Every hosted page, as `narthex dev` shows it with sample data.
const { test, expect } = require('@playwright/test');
const { join } = require('node:path');
const { SHOTS, overflows, violations } = require('./application');

const VIEWS = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
  mobile: { viewport: { width: 375, height: 667 }, colorScheme: 'light', deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

// The other two looks are the same in the dark, and differ on a phone in nothing that these do not.
const LOOKS_OF_VIEW = { light: ['plain', 'acme', 'dark', 'picture'], dark: ['plain', 'acme'], mobile: ['plain', 'acme'] };

/** Names of pages and looks, from the index of the gallery. */
const gallery = async request => {
  const html = await (await request.get('/dev/pages')).text();
  const links = [...html.matchAll(/href="\/dev\/pages\/([a-z-]+)\?look=([a-z]+)"/g)].map(([, name, look]) => ({ name, look }));
  expect(links.length).toBeGreaterThan(100);
  return links;
};

for (const [view, options] of Object.entries(VIEWS)) {
  test(`every page is clean for axe and fits its window (${view})`, async ({ browser, request, baseURL }) => {
    test.setTimeout(180_000);
    const context = await browser.newContext({ ...options, baseURL });
    const page = await context.newPage();
    const complaints = [];
    page.on('console', message => ['error', 'warning'].includes(message.type()) && complaints.push(`${page.url()}: ${message.text()}`));
    page.on('pageerror', error => complaints.push(`${page.url()}: ${error}`));
    const found = [];
    for (const { name, look } of (await gallery(request)).filter(({ look }) => LOOKS_OF_VIEW[view].includes(look))) {
      await page.goto(`/dev/pages/${name}?look=${look}`);
      // One look each is enough to see what the pages look like; axe reads them all.
      if (look === 'plain' || look === 'acme') await page.screenshot({ path: join(SHOTS, view, `${name}.${look}.png`) });
      found.push(...(await violations(page)).map(text => `${name} ${look}: ${text}`));
      if (await overflows(page)) found.push(`${name} ${look}: wider than the window`);
    }
    expect(found).toEqual([]);
    // The gallery's errors have their own status, and nothing stands behind its addresses; a policy that refuses something says so otherwise.
    expect(complaints.filter(text => !/status of 4(00|05|10|29)/.test(text))).toEqual([]);
    await context.close();
  });
}

test('every page says the same without JavaScript', async ({ browser, request, baseURL }) => {
  test.setTimeout(120_000);
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL });
  const page = await context.newPage();
  for (const { name, look } of (await gallery(request)).filter(({ look }) => look === 'plain')) {
    await page.goto(`/dev/pages/${name}?look=${look}`);
    await expect(page.getByRole('heading', { level: 1 }), name).toBeVisible();
    // What only a script can do is not shown: no dead buttons.
    await expect(page.locator('button[type="button"]:visible'), name).toHaveCount(0);
    for (const form of await page.locator('form:visible').all()) {
      await expect(form.locator('button[type="submit"]').first(), name).toBeVisible();
      await expect(form.locator('input[name="csrf"]'), name).toHaveCount(1);
    }
  }
  await context.close();
});

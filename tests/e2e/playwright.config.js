// Debian's Chromium against one `narthex dev`, which tests/e2e/run has started.
const { createHash, X509Certificate } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const out = join(__dirname, '../../target/e2e');

// The browser trusts the dev CA's key and no other: with certificate errors merely ignored, WebAuthn would refuse to work.
const ca = new X509Certificate(readFileSync(process.env.NARTHEX_CA_FILE));
const key = createHash('sha256').update(ca.publicKey.export({ type: 'spki', format: 'der' })).digest('base64');

module.exports = {
  testDir: __dirname,
  testMatch: '*.spec.js',
  outputDir: join(out, 'results'),
  reporter: join(__dirname, 'report.js'),
  workers: 2,
  fullyParallel: true,
  forbidOnly: true,
  timeout: 30000,
  expect: { timeout: 5000 },
  use: {
    baseURL: process.env.SCALEKIT_ENVIRONMENT_URL,
    trace: 'retain-on-failure',
    locale: 'en-GB',
    launchOptions: {
      executablePath: process.env.NARTHEX_E2E_CHROMIUM ?? '/usr/bin/chromium',
      // Root has no sandbox to give to a browser; it only ever opens pages of the server under test.
      chromiumSandbox: process.getuid() !== 0,
      args: [`--ignore-certificate-errors-spki-list=${key}`],
    },
  },
};

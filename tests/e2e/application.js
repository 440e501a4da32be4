// An application in front of `narthex dev`: its API client, its login links, its callback, and its users' mailbox.
const { expect, request } = require('@playwright/test');
const { spawn } = require('node:child_process');
const { copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } = require('node:fs');
const { createServer } = require('node:http');
const { tmpdir } = require('node:os');
const { dirname, join } = require('node:path');

const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = join(__dirname, '../../target/e2e/screenshots');
// RFC 7636, appendix B.
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const PIN = '[data-scope="pin-input"][data-part="input"]';
const READY_SECONDS = 30;

let number = 0;
/** An address that no other test uses. */
const address = name => `${name}.${process.pid}.${++number}@example.net`;

// The application itself: a callback that says nothing, and a page that tries to frame another.
const server = createServer((asked, answer) => {
  const frame = new URL(asked.url, 'http://localhost').searchParams.get('frame');
  answer.setHeader('content-type', 'text/html');
  answer.end(`<!doctype html><title>app</title>${frame ? `<iframe src="${frame}"></iframe>` : ''}`);
}).unref();
const home = () => `http://localhost:${server.address().port}`;
const callback = () => `${home()}/callback`;

/** What `narthex dev` wrote for programs that use it. */
const variables = folder => {
  const lines = readFileSync(join(folder, 'dev.env'), 'utf8').split('\n').filter(line => line && !line.startsWith('#'));
  return Object.fromEntries(lines.map(line => line.match(/^(\w+)=['"]?(.*?)['"]?$/).slice(1)));
};

class Application {
  /** An application of the server that all tests share. Nobody changes settings there. */
  static async open(place = process.env, stop = async () => {}) {
    if (!server.listening) await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    const app = new Application();
    const { SCALEKIT_ENVIRONMENT_URL: origin, SCALEKIT_CLIENT_ID: client, SCALEKIT_CLIENT_SECRET: secret, NARTHEX_DEV_URL: dev } = place;
    Object.assign(app, { origin, client, secret, dev, stop });
    app.api = await request.newContext({ baseURL: origin, ignoreHTTPSErrors: true });
    const form = { grant_type: 'client_credentials', client_id: client, client_secret: secret };
    app.token = (await (await app.api.post('/oauth/token', { form })).json()).access_token;
    return app;
  }

  /** An application with a server of its own, whose settings and clock are the test's. The browser trusts it as it does the other. */
  static async start(settings = {}) {
    const folder = mkdtempSync(join(tmpdir(), 'narthex-e2e-own-'));
    for (const name of ['ca.pem', 'ca-key.pem', 'ca-names', 'truststore.p12']) {
      copyFileSync(join(dirname(process.env.NARTHEX_CA_FILE), name), join(folder, name));
    }
    const log = openSync(join(folder, 'server.log'), 'a');
    const listen = ['--listen', '--prd-listen', '--http-listen'].flatMap(door => [door, '127.0.0.1:0']);
    const child = spawn(process.env.NARTHEX_E2E_BINARY, ['dev', '--dir', folder, ...listen], { stdio: ['ignore', log, log], env: { ...process.env, ...settings } });
    const ended = new Promise(resolve => child.on('exit', resolve));
    const stop = async () => {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true });
    };
    for (const until = Date.now() + READY_SECONDS * 1000; !existsSync(join(folder, 'dev.env'));) {
      if (child.exitCode !== null || Date.now() > until) throw new Error(readFileSync(join(folder, 'server.log'), 'utf8'));
      await new Promise(resolve => setTimeout(resolve, 50));
    }
    return Application.open(variables(folder), stop);
  }

  async send(method, path, data, headers) {
    const answer = await this.api.fetch(path, { method, data, headers });
    if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
    return answer.json();
  }

  call(method, path, data) {
    return this.send(method, `/api/v1/${path}`, data, { authorization: `Bearer ${this.token}` });
  }

  async organization(display_name) {
    return (await this.call('POST', 'organizations', { display_name })).organization.id;
  }

  async member(organization, email) {
    return (await this.call('POST', `organizations/${organization}/users?send_invitation_email=false`, { email })).user.id;
  }

  /** The newest mail to an address, once there are as many. */
  async mail(to, count = 1) {
    for (let tries = 0; tries < 50; tries++) {
      const mails = await this.mails(to);
      if (mails.length >= count) return mails[0];
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error(`not ${count} mails to ${to}`);
  }

  async mails(to) {
    return (await this.api.get(`${this.dev}/dev/mail?to=${encodeURIComponent(to)}`)).json();
  }

  /** Moves stored deadlines. */
  advance(seconds) {
    return this.send('POST', `${this.dev}/dev/clock`, { advance_seconds: seconds });
  }

  /** The environment's id: the API names it in events alone. */
  async environment() {
    return (await this.send('GET', `${this.dev}/dev/events`))[0].environment_id;
  }

  /** Sets how the pages look. */
  async brand(settings) {
    return this.call('PUT', `environments/${await this.environment()}/customizations`, settings);
  }

  /** Sets who may come in. */
  async userManagement(settings) {
    return this.call('PATCH', `environments/${await this.environment()}/settings/user-management`, settings);
  }

  async connection(type) {
    const { connections } = await this.call('GET', 'connections?include=all');
    return connections.find(connection => connection.type === type).id;
  }

  /** Sets how codes and links are sent. */
  async passwordless(config) {
    const connection = { provider: 'SCALEKIT', provider_key: 'SCALEKIT', type: 'PASSWORDLESS', passwordless_config: config };
    return this.call('PATCH', `connections/${await this.connection('PASSWORDLESS')}`, connection);
  }

  /** Switches passkeys on, with changes to their settings. */
  async passkeys(changes = {}) {
    const path = `connections/${await this.connection('WEBAUTHN')}`;
    const { webauthn_config } = (await this.call('GET', path)).connection;
    const connection = { provider_key: 'SCALEKIT', key_id: 'WEBAUTHN', type: 'WEBAUTHN', webauthn_config: { ...webauthn_config, ...changes } };
    await this.call('PATCH', path, connection);
    return this.call('PATCH', `${path}:enable`);
  }

  /** Where the application sends a browser to log in. */
  authorize(parameters = {}, path = '/oauth/authorize') {
    const all = {
      response_type: 'code', client_id: this.client, redirect_uri: callback(), scope: 'openid profile email offline_access', state: 'opaque',
      nonce: 'n', code_challenge: CHALLENGE, code_challenge_method: 'S256', ...parameters,
    };
    return `${this.origin}${path}?${new URLSearchParams(all)}`;
  }

  async tokens(code) {
    const form = {
      grant_type: 'authorization_code', client_id: this.client, client_secret: this.secret, code, redirect_uri: callback(), code_verifier: VERIFIER,
    };
    const answer = await this.api.post('/oauth/token', { form });
    if (!answer.ok()) throw new Error(`token: ${answer.status()} ${await answer.text()}`);
    return answer.json();
  }

  /** Claims of the ID token of a code. */
  async user(code) {
    return claims((await this.tokens(code)).id_token);
  }

  /** The documented way of customers' browser tests: the address, then the whole code typed into the first box. */
  async signIn(page, email, parameters) {
    const before = (await this.mails(email)).length;
    await page.goto(this.authorize(parameters));
    await page.fill('input[name="email"]', email);
    await go(page);
    await this.enterCode(page, (await this.mail(email, before + 1)).otp);
  }

  async enterCode(page, otp) {
    // Without a script there is one field, which all the same is the first.
    await page.locator(PIN).first().fill('');
    await page.locator(PIN).first().click();
    await page.keyboard.type(otp);
    await go(page);
  }
}

/** An authenticator in the device of this page, whose user says yes when `present`. */
class Authenticator {
  static async of(page, options = {}) {
    const session = await page.context().newCDPSession(page);
    await session.send('WebAuthn.enable', { enableUI: false });
    const authenticator = Object.assign(new Authenticator(), { session });
    const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
        automaticPresenceSimulation: true, ...options,
      },
    });
    return Object.assign(authenticator, { authenticatorId });
  }

  send(method, parameters = {}) {
    return this.session.send(`WebAuthn.${method}`, { authenticatorId: this.authenticatorId, ...parameters });
  }

  present(enabled) {
    return this.send('setAutomaticPresenceSimulation', { enabled });
  }

  async credentials() {
    return (await this.send('getCredentials')).credentials;
  }
}

const claims = token => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

/** Presses the button that leads on, and waits for what comes: the page may look as it did before. */
const go = page =>
  Promise.all([
    page.waitForEvent('framenavigated', frame => frame === page.mainFrame()),
    page.getByRole('button', { name: 'Continue', exact: true }).click(),
  ]);

/** The link of the shared server's application. */
const authorize = (parameters = {}) => {
  const shared = Object.assign(new Application(), { origin: process.env.SCALEKIT_ENVIRONMENT_URL, client: process.env.SCALEKIT_CLIENT_ID });
  return shared.authorize(parameters);
};

/** The parameters that the browser came to the callback with. */
const arrived = async page => {
  await page.waitForURL(`${callback()}?**`);
  return Object.fromEntries(new URL(page.url()).searchParams);
};

/** What axe finds on the page that is open. */
const violations = async page => {
  await page.evaluate(AXE);
  // Frames are other people's pages: axe is not in them, and would wait for itself to answer.
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'], iframes: false }));
  return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(node => `${node.html} ${node.failureSummary}`).join('\n')}`);
};

const overflows = page => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

/** Keeps a picture of a page that a test has come to, light, dark and on a phone, and lets axe read each. */
const look = async (page, name) => {
  const window = page.viewportSize();
  for (const [view, colorScheme, viewport] of [['light', 'light'], ['dark', 'dark'], ['mobile', 'light', { width: 375, height: 667 }]]) {
    // Colours that are still on their way from one scheme to the other belong to neither.
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    if (viewport) await page.setViewportSize(viewport);
    await page.screenshot({ path: join(SHOTS, 'flows', `${name}.${view}.png`), fullPage: true });
    // Scripts of the test run where those of the page may not.
    expect(await violations(page), `${name}, ${view}`).toEqual([]);
    expect(await overflows(page), `${name}, ${view}: wider than the window`).toBe(false);
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize(window);
};

module.exports = { Application, Authenticator, PIN, SHOTS, address, arrived, authorize, callback, claims, go, home, look, overflows, violations };

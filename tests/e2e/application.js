// An application in front of `narthex dev`: its API client, its login links, its callback, and its users' mailbox.
const { request } = require('@playwright/test');
const { createServer } = require('node:http');

const { SCALEKIT_ENVIRONMENT_URL: ORIGIN, SCALEKIT_CLIENT_ID: CLIENT, SCALEKIT_CLIENT_SECRET: SECRET, NARTHEX_DEV_URL: DEV } = process.env;
// RFC 7636, appendix B.
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';

let number = 0;
/** An address that no other test uses. */
const address = name => `${name}.${process.pid}.${++number}@example.net`;

// The application itself: a callback that says nothing, and a page that tries to frame another.
const server = createServer((asked, answer) => {
  const frame = new URL(asked.url, 'http://localhost').searchParams.get('frame');
  answer.setHeader('content-type', 'text/html');
  answer.end(`<!doctype html><title>app</title>${frame ? `<iframe src="${frame}"></iframe>` : ''}`);
}).unref();
const callback = () => `http://localhost:${server.address().port}/callback`;

class Application {
  constructor(api, token) {
    Object.assign(this, { api, token });
  }

  static async open() {
    if (!server.listening) await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    const api = await request.newContext({ baseURL: ORIGIN, ignoreHTTPSErrors: true });
    const answer = await api.post('/oauth/token', { form: { grant_type: 'client_credentials', client_id: CLIENT, client_secret: SECRET } });
    return new Application(api, (await answer.json()).access_token);
  }

  async call(method, path, data) {
    const answer = await this.api.fetch(`/api/v1/${path}`, { method, data, headers: { authorization: `Bearer ${this.token}` } });
    if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
    return answer.json();
  }

  async organization(display_name) {
    return (await this.call('POST', 'organizations', { display_name })).organization.id;
  }

  async member(organization, email) {
    return (await this.call('POST', `organizations/${organization}/users?send_invitation_email=false`, { email })).user.id;
  }

  /** The newest mail to an address, once it has come. */
  async mail(to) {
    for (let tries = 0; tries < 50; tries++) {
      const [newest] = await (await this.api.get(`${DEV}/dev/mail?to=${encodeURIComponent(to)}`)).json();
      if (newest) return newest;
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error(`no mail to ${to}`);
  }

  async tokens(code) {
    const form = { grant_type: 'authorization_code', client_id: CLIENT, client_secret: SECRET, code, redirect_uri: callback(), code_verifier: VERIFIER };
    const answer = await this.api.post('/oauth/token', { form });
    if (!answer.ok()) throw new Error(`token: ${answer.status()} ${await answer.text()}`);
    return answer.json();
  }

  /** Claims of the ID token of a code. */
  async user(code) {
    return JSON.parse(Buffer.from((await this.tokens(code)).id_token.split('.')[1], 'base64url'));
  }
}

const authorize = (parameters = {}) => {
  const all = {
    response_type: 'code', client_id: CLIENT, redirect_uri: callback(), scope: 'openid profile email offline_access', state: 'opaque', nonce: 'n',
    code_challenge: CHALLENGE, code_challenge_method: 'S256', ...parameters,
  };
  return `${ORIGIN}/oauth/authorize?${new URLSearchParams(all)}`;
};

/** The parameters that the browser came to the callback with. */
const arrived = async page => {
  await page.waitForURL(`${callback()}?**`);
  return Object.fromEntries(new URL(page.url()).searchParams);
};

module.exports = { Application, address, arrived, authorize, callback };

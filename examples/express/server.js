'use strict';
const { randomBytes } = require('node:crypto');
const cookieSession = require('cookie-session');
const express = require('express');
const { ScalekitClient } = require('@scalekit-sdk/node');

const { SCALEKIT_ENVIRONMENT_URL, SCALEKIT_CLIENT_ID, SCALEKIT_CLIENT_SECRET, PORT = '3000' } = process.env;
const HOME = `http://localhost:${PORT}`;
const CALLBACK = `${HOME}/callback`;
const scalekit = new ScalekitClient(SCALEKIT_ENVIRONMENT_URL, SCALEKIT_CLIENT_ID, SCALEKIT_CLIENT_SECRET);

const app = express();
// The session is a signed cookie. A new key at each start signs everybody out of this application.
app.use(cookieSession({ name: 'example', keys: [randomBytes(32).toString('hex')], httpOnly: true, sameSite: 'lax' }));

app.get('/', async (request, response) => {
  const { user } = request.session;
  if (!user) return response.send('<h1>Example</h1><p><a href="/login">Sign in</a></p>');
  const { organization } = await scalekit.organization.getOrganization(user.organizationId);
  const lines = [`Signed in as ${escape(user.email)}`, `in ${escape(organization.displayName)}`];
  response.send(`<h1>Example</h1><p>${lines.join(' ')}</p><p><a href="/logout">Sign out</a></p>`);
});

app.get('/login', (request, response) => {
  request.session.state = randomBytes(16).toString('hex');
  response.redirect(scalekit.getAuthorizationUrl(CALLBACK, { state: request.session.state }));
});

app.get('/callback', async (request, response) => {
  const { code, state, error, error_description: description } = request.query;
  // The answer belongs to the browser that asked, and to its latest question.
  if (!state || state !== request.session.state) return response.status(400).send('This sign-in was not begun here.');
  request.session.state = undefined;
  if (error) return response.status(403).send(`Not signed in: ${escape(String(description ?? error))}`);
  const { idToken } = await scalekit.authenticateWithCode(String(code), CALLBACK);
  const claims = await scalekit.validateToken(idToken, { issuer: SCALEKIT_ENVIRONMENT_URL, audience: [SCALEKIT_CLIENT_ID] });
  request.session.user = { email: claims.email, organizationId: claims.oid };
  request.session.idToken = idToken;
  response.redirect('/');
});

app.get('/logout', (request, response) => {
  const { idToken } = request.session;
  request.session = null;
  response.redirect(scalekit.getLogoutUrl({ idTokenHint: idToken, postLogoutRedirectUri: HOME + '/' }));
});

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]);

app.listen(Number(PORT), '127.0.0.1', () => console.log(HOME));

'use strict';
// Dynamic client registration (RFC 7591), as the library below openid-client drives it.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const oauth = require('oauth4webapi');

async function run(report, url, clientId, secret) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret });
  const token = (await (await fetch(`${url}/oauth/token`, { method: 'POST', body: form })).json()).access_token;
  const call = async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${url}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
    return answer.json();
  };
  const made = await call('POST', 'resources', { name: `registration-${randomUUID()}`, resource_type: 'MCP_SERVER' });
  const id = made.resource.id;
  const server = { issuer: url, registration_endpoint: `${url}/api/v1/resources/${id}/clients:register` };
  const register = async (metadata) =>
    oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(server, metadata));
  const uri = 'http://127.0.0.1:33418/';

  try {
    await report.check('[MCP-10] a registration library reads the answer about a public client', async () => {
      const client = await register({ client_name: 'Editor', redirect_uris: [uri], grant_types: ['authorization_code'] });
      assert.match(client.client_id, /^m2m_[0-9]+$/);
      assert.deepEqual([client.client_secret, client.client_name, client.redirect_uris], [undefined, 'Editor', [uri]]);
      assert.deepEqual([client.token_endpoint_auth_method, client.response_types], ['none', ['code']]);
    });

    await report.check('[MCP-11] and about one with a secret', async () => {
      const client = await register({ redirect_uris: [uri], token_endpoint_auth_method: 'client_secret_basic' });
      assert.ok(client.client_secret.length > 40);
      assert.equal(client.client_secret_expires_at, 0);
    });

    await report.check('[MCP-60] it reads the refusals by their codes', async () => {
      const refusal = (metadata) => register(metadata).then(() => assert.fail('not refused'), (error) => error);
      const redirect = await refusal({ redirect_uris: ['http://example.com/'] });
      assert.deepEqual([redirect.constructor.name, redirect.status], ['ResponseBodyError', 400], redirect.stack);
      assert.equal(redirect.error, 'invalid_redirect_uri');
      assert.match(redirect.error_description, /redirect_uris\[0\]/);
      assert.equal((await refusal({ redirect_uris: [uri], tos_uri: 'x:' })).error, 'invalid_client_metadata');
      await call('PATCH', `resources/${id}`, { disable_dynamic_client_registration: true });
      const closed = await refusal({ redirect_uris: [uri] });
      assert.deepEqual([closed.error, closed.status], ['access_denied', 403]);
    });
  } finally {
    await call('DELETE', `resources/${id}`);
  }
}

module.exports = { run };

'use strict';
// Domains of an organization, and the connections that belong to one, as the Node SDK drives them.
const assert = require('node:assert/strict');
const { unique } = require('./organizations');
const { notFound, badRequest, NOWHERE } = require('./people');

const UNKNOWN = 'dom_100000000000000000';
const TYPE = { ALLOWED_EMAIL_DOMAIN: 1, ORGANIZATION_DOMAIN: 2 };

async function run(report, client) {
  const org = (await client.organization.createOrganization('Domains')).organization.id;
  const { domain: api } = client;
  const listed = async (options) => (await api.listDomains(org, options)).domains.map((one) => one.id);
  try {
    await report.check('domains: create of both types, get, list by type, delete', async () => {
      const made = [];
      for (const [domainType, number] of Object.entries(TYPE)) {
        const name = `${unique('d')}.example.org`;
        const { domain } = await api.createDomain(org, name, { domainType });
        assert.match(domain.id, /^dom_[0-9]+$/);
        assert.deepEqual([domain.domain, domain.domainType], [name, number]);
        assert.equal((await api.getDomain(org, domain.id)).domain.organizationId, org);
        assert.deepEqual(await listed({ domainType }), [domain.id]);
        made.push(domain.id);
      }
      assert.equal((await listed()).length, 2);
      for (const id of made) await api.deleteDomain(org, id);
      assert.deepEqual(await listed(), []);
    });

    await report.check('[DOM-02] a public or disposable name is no allowed email domain', async () => {
      for (const name of ['gmail.com', 'mailinator.com']) {
        await badRequest(() => api.createDomain(org, name, { domainType: 'ALLOWED_EMAIL_DOMAIN' }));
      }
    });

    await report.check('an unknown domain and an unknown organization are not found; a name that is none is a bad request', async () => {
      await notFound(() => api.getDomain(org, UNKNOWN));
      await notFound(() => api.deleteDomain(org, UNKNOWN));
      await notFound(() => api.createDomain(NOWHERE, `${unique('d')}.example.org`));
      await badRequest(() => api.createDomain(org, 'not a domain'));
    });

    await report.check('connections of an organization and of a domain: none, as those of the environment belong to neither', async () => {
      assert.deepEqual((await client.connection.listConnections(org)).connections, []);
      assert.deepEqual((await client.connection.listConnectionsByDomain('example.org')).connections, []);
      await notFound(() => client.connection.listConnections(NOWHERE));
      await badRequest(() => client.connection.listConnectionsByDomain('d'.repeat(33)));
    });
  } finally {
    await client.organization.deleteOrganization(org);
  }
}

module.exports = { run };

'use strict';
// Pages over many organizations: every row once, newest first, backwards as forwards.
const assert = require('node:assert/strict');
const { ScalekitBadRequestException } = require('@scalekit-sdk/node');
const { refused, CODE } = require('./report');

const ROWS = 250;
const ids = (page) => page.organizations.map((organization) => organization.id);

async function pages(orgs, pageSize) {
  const found = [];
  let pageToken = '';
  do {
    const page = await orgs.listOrganization({ pageSize, pageToken });
    found.push(page);
    pageToken = page.nextPageToken;
    assert.ok(found.length < 10_000, 'nextPageToken never ends');
  } while (pageToken);
  return found;
}

async function run(report, client) {
  const orgs = client.organization;
  const made = [];
  try {
    for (let row = 0; row < ROWS; row += 1) {
      made.push((await orgs.createOrganization(`Page Row ${row}`)).organization.id);
    }
    for (const size of [100, 30, 1]) {
      await report.check(`[ORG-10 API-05] ${ROWS} organizations in pages of ${size}: each once, newest first, totalSize true`, async () => {
        const found = await pages(orgs, size);
        const rows = found.flatMap(ids);
        assert.equal(new Set(rows).size, rows.length, 'a row came twice');
        const own = new Set(made);
        assert.deepEqual(rows.filter((id) => own.has(id)), [...made].reverse());
        assert.ok(found.every((page) => page.totalSize === rows.length), 'totalSize');
        assert.ok(found.slice(0, -1).every((page) => page.organizations.length === size), 'a page is not full');
        assert.equal(found[0].prevPageToken, '');
      });
    }

    await report.check('[API-05] prevPageToken leads back through the same pages', async () => {
      const forward = await pages(orgs, 30);
      const backward = [forward.at(-1)];
      while (backward[0].prevPageToken) {
        backward.unshift(await orgs.listOrganization({ pageSize: 30, pageToken: backward[0].prevPageToken }));
        assert.ok(backward.length <= forward.length, 'prevPageToken never ends');
      }
      assert.deepEqual(backward.map(ids), forward.map(ids));
    });

    await report.check('[API-05] no page size means 10; a malformed token is refused', async () => {
      assert.equal((await orgs.listOrganization()).organizations.length, 10);
      await refused(
        () => orgs.listOrganization({ pageSize: 10, pageToken: '%%% not a token' }),
        ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT',
      );
    });
  } finally {
    for (const id of made) await orgs.deleteOrganization(id);
  }
}

module.exports = { run };

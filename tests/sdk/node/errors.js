'use strict';
// Every class of error that the server can be brought to give, as the SDK's exceptions show it.
const assert = require('node:assert/strict');
const {
  ScalekitClient,
  ScalekitBadRequestException,
  ScalekitForbiddenException,
  ScalekitNotFoundException,
  ScalekitNotImplementedException,
  ScalekitTooManyRequestsException,
  ScalekitUnauthorizedException,
} = require('@scalekit-sdk/node');
const { refused, CODE } = require('./report');
const { unique } = require('./organizations');

// An RPC of the SDK that the server does not offer yet. Take another one when this one is built.
const notBuiltYet = (client, organizationId) => client.directory.listDirectories(organizationId);

async function run(report, client, url, clientId, secret) {
  const orgs = client.organization;
  const externalId = unique('dup');
  const { organization: org } = await orgs.createOrganization('Errors', { externalId });
  try {
    await report.check('[ORG-02 ERR-03] an empty display name is a bad request that names the field and the rule', async () => {
      const error = await refused(
        () => orgs.createOrganization(''), ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT',
      );
      const violations = error.unpackedDetails.flatMap((info) => info.validationErrorInfo?.fieldViolations ?? []);
      assert.ok(violations.some((v) => v.field.endsWith('display_name') && v.constraint === 'string.min_len'), JSON.stringify(violations));
    });

    await report.check('[ORG-04] a duplicate external id is a bad request that says: already exists', () =>
      refused(
        () => orgs.createOrganization('Twin', { externalId }),
        ScalekitBadRequestException, CODE.INVALID_ARGUMENT, 'INVALID_ARGUMENT', 'already exists',
      ));

    await report.check('[ERR-01] an unknown organization is not found', () =>
      refused(() => orgs.getOrganization('org_100000000000000000'), ScalekitNotFoundException, CODE.NOT_FOUND, 'NOT_FOUND'));

    await report.check('[MGMT-04] an RPC for workspace members refuses an API client with PERMISSION_DENIED', () =>
      refused(
        () => orgs.coreClient.connectExec(orgs.client.getPortalLinks, { id: org.id }),
        ScalekitForbiddenException, CODE.PERMISSION_DENIED, 'PERMISSION_DENIED',
      ));

    await report.check('an RPC that is not built yet is not implemented, with details', () =>
      refused(() => notBuiltYet(client, org.id), ScalekitNotImplementedException, CODE.UNIMPLEMENTED, 'UNIMPLEMENTED'));

    await report.check('[OAUTH-02] a wrong client secret: generateClientToken is refused as unauthorized', () =>
      refused(
        () => client.generateClientToken(clientId, `${secret}x`),
        ScalekitUnauthorizedException, CODE.UNAUTHENTICATED, 'Unauthorized',
      ));

    await report.check('a client with a wrong secret cannot call: its token request is answered 401', async () => {
      const intruder = new ScalekitClient(url, clientId, `${secret}x`);
      await assert.rejects(() => intruder.organization.listOrganization(), (error) => {
        // The SDK lets the token endpoint's answer out as it is (sdk-clients §4).
        assert.equal(error.response?.status ?? error.httpStatus, 401);
        return true;
      });
    });
  } finally {
    await orgs.deleteOrganization(org.id);
  }
}

// How often one failing call reaches the server: this SDK resends only on 14 and 16.
async function counted(report, client) {
  await report.check('[ERR-01] a call that is not found is executed once', async () => {
    const orgs = client.organization;
    const original = orgs.client.getOrganization;
    let calls = 0;
    orgs.client.getOrganization = (...rest) => {
      calls += 1;
      return original(...rest);
    };
    try {
      await refused(() => orgs.getOrganization('org_100000000000000000'), ScalekitNotFoundException, CODE.NOT_FOUND, 'NOT_FOUND');
    } finally {
      orgs.client.getOrganization = original;
    }
    assert.equal(calls, 1);
  });
}

// Against a server that was started with a small API limit per minute.
async function limits(report, client) {
  const limit = Number(process.env.NARTHEX_LIMIT_PER_MINUTE);
  await report.check('[ERR-10 EVT-70] over the limit: TooManyRequests with RATE_LIMITED, not resent', async () => {
    let answered = 0;
    let caught;
    const started = Date.now();
    while (answered <= limit * 3 && !caught) {
      await client.organization.listOrganization({ pageSize: 1 }).then(
        () => { answered += 1; },
        (error) => { caught = error; },
      );
    }
    assert.ok(caught instanceof ScalekitTooManyRequestsException, `${answered} answered, then ${caught}`);
    assert.deepEqual([caught.grpcStatus, caught.errorCode], [CODE.RESOURCE_EXHAUSTED, 'RATE_LIMITED']);
    assert.ok(answered <= limit * 2, `${answered} answered before the limit of ${limit}`);
    // A resend would have waited a second or more.
    assert.ok(Date.now() - started < 30_000, 'took as long as if it had been resent');
  });
}

module.exports = { run, counted, limits };

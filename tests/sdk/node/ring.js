'use strict';
// The Node SDK against a running server: ring.js core | plain | rotation | limits. Reads SCALEKIT_… from the environment.
// `plain` speaks to NARTHEX_HTTP_URL: gRPC as h2c with prior knowledge and OAuth over HTTP/1.1, on one port.
const { version } = require('@scalekit-sdk/node/package.json');
const { ScalekitClient } = require('@scalekit-sdk/node');
const access = require('./access');
const domains = require('./domains');
const errors = require('./errors');
const machines = require('./machines');
const organizations = require('./organizations');
const pagination = require('./pagination');
const passwordless = require('./passwordless');
const people = require('./people');
const sessions = require('./sessions');
const signin = require('./signin');
const tokens = require('./tokens');
const { Report } = require('./report');

async function main(part) {
  const { SCALEKIT_ENVIRONMENT_URL: origin, SCALEKIT_CLIENT_ID: clientId, SCALEKIT_CLIENT_SECRET: secret } = process.env;
  const url = part === 'plain' ? process.env.NARTHEX_HTTP_URL : origin;
  const report = new Report(`node ${version} ${part === 'plain' ? 'over http' : 'over https'}`);
  const client = new ScalekitClient(url, clientId, secret);
  if (part === 'limits') {
    await errors.limits(report, client);
  } else if (part === 'rotation') {
    await tokens.rotation(report, url, clientId, secret);
  } else {
    // Links and issuers name the environment's canonical origin, whatever scheme and port the caller used.
    await organizations.run(report, client, origin);
    await pagination.run(report, client);
    await people.run(report, client);
    await access.run(report, client);
    await machines.run(report, client, url, origin);
    await domains.run(report, client);
    await sessions.run(report, client);
    await signin.run(report, client, url, origin, clientId);
    await passwordless.run(report, client, origin);
    await errors.run(report, client, url, clientId, secret);
    await errors.counted(report, client);
    await tokens.run(report, client, url, origin, clientId);
  }
  report.end();
}

main(process.argv[2]).then(
  // connect keeps its HTTP/2 session open; nothing is left to wait for.
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

'use strict';
// One line per check on standard output, as tests/sdk/run counts them.
const assert = require('node:assert/strict');

class Report {
  constructor(ring) {
    this.ring = ring;
    this.failed = 0;
  }

  // Runs the block; whatever it throws is a failed check and the ring goes on.
  async check(name, block) {
    try {
      await block();
      console.log(`PASS ${this.ring}: ${name}`);
    } catch (error) {
      this.failed += 1;
      const text = `${error.name}: ${error.message}`.replace(/\s*\n\s*/g, ' ');
      console.log(`FAIL ${this.ring}: ${name}: ${text.slice(0, 600)}`);
    }
  }

  // The runner also wants this line, so that a ring that dies half-way is not taken for a good one.
  end() {
    console.log(`END ${this.ring}`);
    process.exitCode = this.failed ? 1 : 0;
  }
}

// The call must throw exactly this SDK exception with this gRPC code and this errorCode.
async function refused(call, exception, grpcCode, errorCode, says = '') {
  let error;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, `not refused; expected ${exception.name}`);
  assert.equal(error.constructor.name, exception.name, `exception class (${error.message})`);
  assert.equal(error.grpcStatus, grpcCode, 'gRPC code');
  assert.equal(error.errorCode, errorCode, 'errorCode');
  assert.ok((error.message ?? '').toLowerCase().includes(says), `message ${error.message} does not contain ${says}`);
  return error;
}

// gRPC codes by name; connect's numbering is gRPC's.
const CODE = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  UNAUTHENTICATED: 16,
};

module.exports = { Report, refused, CODE };

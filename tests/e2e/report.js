// A line per test, as the other rings print them: `ok   [LGN-07] title`.
class Report {
  passed = 0;
  failed = 0;

  onTestEnd(test, result) {
    if (result.status === 'skipped') return;
    // A test that passes at the second try has failed: there are no retries.
    const good = result.status === test.expectedStatus;
    good ? this.passed++ : this.failed++;
    console.log(`${good ? 'ok  ' : 'FAIL'} ${test.title} (${(result.duration / 1000).toFixed(1)} s)`);
    if (!good) {
      for (const error of result.errors) console.log(`  | ${(error.stack ?? error.message ?? String(error.value)).replaceAll('\n', '\n  | ')}`);
    }
  }

  onError(error) {
    this.failed++;
    console.log(`FAIL ${error.stack ?? error.message ?? error.value}`);
  }

  onEnd() {
    console.log(`e2e: ${this.passed} passed, ${this.failed} failed`);
    return { status: this.failed || !this.passed ? 'failed' : 'passed' };
  }

  printsToStdio() {
    return true;
  }
}
module.exports = Report;

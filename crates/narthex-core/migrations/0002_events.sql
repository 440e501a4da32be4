-- Events, the jobs that consume them, the audit chain over them, and what else any write may touch.

CREATE TABLE events (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  organization_id INTEGER,
  type TEXT NOT NULL,
  actor TEXT NOT NULL,
  occurred_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

-- States: 0 ready, 1 leased, 2 dead. Queues: 1 audit, 2 work. A job of an event has the event's id: one per kind.
CREATE TABLE jobs (
  id INTEGER NOT NULL,
  kind TEXT NOT NULL,
  queue INTEGER NOT NULL,
  environment_id INTEGER NOT NULL,
  payload TEXT NOT NULL,
  state INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  lease INTEGER,
  lease_until INTEGER,
  last_error TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_ready ON jobs (queue, environment_id, run_at) WHERE state = 0;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 1;
CREATE INDEX jobs_dead ON jobs (environment_id) WHERE state = 2;

-- One hash chain per environment over its events, in the order of sealing.
CREATE TABLE audit_chain (
  environment_id INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  event_id INTEGER NOT NULL,
  digest BLOB NOT NULL,
  hash BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (environment_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX audit_chain_event ON audit_chain (event_id);

-- Where each chain ends, and where it begins since its older links were swept.
CREATE TABLE audit_heads (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  base_seq INTEGER NOT NULL,
  base_hash BLOB NOT NULL
) STRICT;

-- Work that one node at a time does: the audit sealer, and each sweep with the time of its next run.
CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder INTEGER NOT NULL,
  held_until INTEGER NOT NULL,
  due_at INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
  environment_id INTEGER NOT NULL,
  caller TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  resource_id INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (environment_id, caller, name)
) STRICT;
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- Totals of unfiltered lists: a base value, and the changes that have not been folded into it yet.
CREATE TABLE counters (
  environment_id INTEGER NOT NULL,
  noun TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (environment_id, noun)
) STRICT;
CREATE TABLE counter_changes (
  environment_id INTEGER NOT NULL,
  noun TEXT NOT NULL,
  id INTEGER NOT NULL,
  change INTEGER NOT NULL,
  PRIMARY KEY (environment_id, noun, id)
) STRICT, WITHOUT ROWID;

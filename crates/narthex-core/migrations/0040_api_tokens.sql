-- API tokens: opaque keys that an application hands to its customers. Only the SHA-256 of one is kept. `sweep_at` is when a token
-- that has ended may be forgotten.
CREATE TABLE api_tokens (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  user_id INTEGER,
  hash BLOB NOT NULL,
  suffix TEXT NOT NULL,
  description TEXT,
  custom_claims TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  revoked_at INTEGER,
  sweep_at INTEGER
) STRICT;
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
CREATE INDEX api_tokens_organization ON api_tokens (organization_id, id);
CREATE INDEX api_tokens_user ON api_tokens (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX api_tokens_sweep ON api_tokens (sweep_at) WHERE sweep_at IS NOT NULL;

-- What logins have allowed clients.

-- One row from the code of a login to the last refresh token that came of it. Codes and tokens are kept as SHA-256 only. `authorized`
-- is what was allowed, as JSON. `attempt` is the number of the request that has spent the code; `denied` says that it was spent in
-- vain. `family_hash` is of the part that all refresh tokens of a grant have in common. `salt` leads from the token before to the
-- present one, for requests that were sent twice. After `expires_at` nobody can ask about the grant any more.
CREATE TABLE grants (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  client_id TEXT NOT NULL,
  session_id INTEGER,
  authorized TEXT NOT NULL,
  code_hash BLOB NOT NULL,
  code_expires_at INTEGER NOT NULL,
  attempt INTEGER,
  denied INTEGER NOT NULL,
  family_hash BLOB,
  current_hash BLOB,
  previous_hash BLOB,
  salt BLOB,
  rotated_at INTEGER,
  refresh_expires_at INTEGER,
  revoked_at INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX grants_code ON grants (code_hash);
CREATE UNIQUE INDEX grants_family ON grants (family_hash) WHERE family_hash IS NOT NULL;
CREATE INDEX grants_expiry ON grants (expires_at);

-- Sessions that run out are ended without anybody asking.
CREATE INDEX sessions_running ON sessions (expires_at) WHERE kind = 1 AND revoked_at IS NULL;
CREATE INDEX sessions_idle ON sessions (idle_expires_at) WHERE kind = 1 AND revoked_at IS NULL;

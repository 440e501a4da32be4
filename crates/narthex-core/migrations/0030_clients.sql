-- What clients hold beyond their secrets, the scopes of an environment, resources (MCP servers) and consents to their clients.

-- `ip_allowlist` is null until it is set. Origins: 0 made by an administrator, 1 registered by itself (RFC 7591), 2 described by the
-- document at `metadata_uri`. `presentation` is what a registered client says of itself, unverified.
ALTER TABLE clients ADD COLUMN ip_allowlist TEXT;
ALTER TABLE clients ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN metadata_uri TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN presentation TEXT NOT NULL DEFAULT '{}';
CREATE INDEX clients_resource ON clients (resource_id, key_id) WHERE resource_id IS NOT NULL;
CREATE INDEX clients_registered ON clients (created_at) WHERE origin = 1;

CREATE TABLE scopes (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX scopes_name ON scopes (environment_id, name);

-- `uri` is kept byte for byte and empty where a resource goes by its id. A connection is the customer's own login page.
CREATE TABLE resources (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  uri TEXT NOT NULL,
  logo_uri TEXT NOT NULL,
  provider TEXT NOT NULL,
  access_token_expiry INTEGER NOT NULL,
  refresh_token_expiry INTEGER NOT NULL,
  registration_disabled INTEGER NOT NULL,
  scopes TEXT NOT NULL,
  intersect_scopes INTEGER NOT NULL,
  scope_selection INTEGER NOT NULL,
  cimd_enabled INTEGER NOT NULL,
  cimd_allowlist TEXT NOT NULL,
  cimd_allowlist_enabled INTEGER NOT NULL,
  xaa_enabled INTEGER NOT NULL,
  connection_id INTEGER,
  authorize_uri TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX resources_environment ON resources (environment_id, kind, id);

-- One per user, client and resource. `subject` is the `sub` of the tokens: a user's id, or what the customer's login posted;
-- `user_id` is set where it is a user of the environment.
CREATE TABLE consents (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  resource_id INTEGER NOT NULL,
  client_id TEXT NOT NULL REFERENCES clients (client_id),
  subject TEXT NOT NULL,
  user_id INTEGER,
  search_text TEXT NOT NULL,
  scopes TEXT NOT NULL,
  granted_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX consents_subject ON consents (client_id, resource_id, subject);
CREATE INDEX consents_resource ON consents (resource_id, id);
CREATE INDEX consents_user ON consents (environment_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX consents_client ON consents (client_id, id);

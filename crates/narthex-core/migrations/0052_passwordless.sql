-- Connections of environments, codes and links by mail, and test users.

-- Ways to sign in. Types are the wire's: 5 codes and links by mail, 9 passkeys. `config` holds the type's own settings.
CREATE TABLE connections (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  type INTEGER NOT NULL,
  enabled INTEGER NOT NULL,
  debug_enabled INTEGER NOT NULL,
  ui_button_title TEXT NOT NULL,
  configuration_type INTEGER NOT NULL,
  attribute_mapping TEXT NOT NULL,
  config TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX connections_environment ON connections (environment_id, id);
CREATE UNIQUE INDEX connections_login ON connections (environment_id, type) WHERE type IN (5, 9);

-- Environments that are there already get what new ones get. Nothing can have a connection's id yet, so that ids of their keys, which
-- are unique and old, serve.
INSERT INTO connections (id, environment_id, type, enabled, debug_enabled, ui_button_title, configuration_type, attribute_mapping,
  config, created_at, updated_at)
  SELECT data_keys.id, environments.id, 5, 1, 0, '', 0, '{}', '{}', environments.created_at, environments.created_at
  FROM environments JOIN data_keys ON data_keys.environment_id = environments.id AND data_keys.version = 1;
INSERT INTO connections (id, environment_id, type, enabled, debug_enabled, ui_button_title, configuration_type, attribute_mapping,
  config, created_at, updated_at)
  SELECT MIN(signing_keys.id), environments.id, 9, 0, 0, '', 0, '{}', '{}', environments.created_at, environments.created_at
  FROM environments JOIN signing_keys ON signing_keys.environment_id = environments.id
  GROUP BY environments.id, environments.created_at;

-- The key of an environment's low-entropy secrets, which a plain hash would not hide. Sealed.
CREATE TABLE mac_keys (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- A code, a link or both on their way to an address. Both follow from `seed` under the environment's key and are kept nowhere; links are
-- found by their SHA-256. `auth_request_id` is the login that it belongs to; none for those of an application. `wrong_codes` are the
-- times of the last wrong ones. A row outlives its code, so that it can be sent again.
CREATE TABLE passwordless_requests (
  id TEXT NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  auth_request_id INTEGER,
  email TEXT NOT NULL,
  type INTEGER NOT NULL,
  intent INTEGER NOT NULL,
  template INTEGER,
  state TEXT,
  link_base TEXT,
  variables TEXT NOT NULL,
  lifetime INTEGER NOT NULL,
  code_length INTEGER NOT NULL,
  code_type INTEGER NOT NULL,
  same_browser INTEGER NOT NULL,
  suppressed INTEGER NOT NULL,
  seed BLOB NOT NULL,
  link_hash BLOB,
  wrong_codes TEXT NOT NULL,
  locked INTEGER NOT NULL,
  used_at INTEGER,
  valid_until INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX passwordless_requests_expiry ON passwordless_requests (expires_at);
CREATE UNIQUE INDEX passwordless_requests_link ON passwordless_requests (link_hash) WHERE link_hash IS NOT NULL;

-- Mails of the last minute. `address` is in lower case.
CREATE TABLE passwordless_sends (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  address TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX passwordless_sends_address ON passwordless_sends (environment_id, address, expires_at);
CREATE INDEX passwordless_sends_expiry ON passwordless_sends (expires_at);

-- Addresses of browser tests, which get no mail and have one code. A row is written when the settings are first changed.
CREATE TABLE test_users (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  enabled INTEGER NOT NULL,
  code BLOB,
  emails TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- What happened within a login, in words. `subject` is the id of the login, or of the application's own request.
CREATE TABLE auth_log (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  subject TEXT NOT NULL,
  event TEXT NOT NULL,
  occurred_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX auth_log_subject ON auth_log (environment_id, subject, id);
CREATE INDEX auth_log_expiry ON auth_log (expires_at);

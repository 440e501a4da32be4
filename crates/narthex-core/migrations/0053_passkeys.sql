-- Passkeys. `public_key` is a COSE key, `flags` the bits of WebAuthn's authenticator data, `transports` and `device` JSON texts, the
-- latter of where the passkey was made. `refusals` counts uses that were refused because the authenticator had counted backwards.
CREATE TABLE passkeys (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  credential_id BLOB NOT NULL,
  rp_id TEXT NOT NULL,
  public_key BLOB NOT NULL,
  counter INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  aaguid BLOB NOT NULL,
  conveyance TEXT NOT NULL,
  transports TEXT NOT NULL,
  attachment TEXT NOT NULL,
  display_name TEXT,
  device TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  last_used_at INTEGER,
  refusals INTEGER NOT NULL DEFAULT 0,
  refused_at INTEGER
) STRICT;
CREATE UNIQUE INDEX passkeys_credential ON passkeys (environment_id, credential_id);
CREATE INDEX passkeys_user ON passkeys (user_id, id);

-- Challenges that were answered, by their SHA-256. What a challenge was made for is sealed in the challenge itself.
CREATE TABLE passkey_answers (
  challenge BLOB NOT NULL PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX passkey_answers_expiry ON passkey_answers (expires_at);

-- What a passkey has proven, until the login takes it. Only the SHA-256 of a token is kept.
CREATE TABLE passkey_proofs (
  hash BLOB NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  passkey_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX passkey_proofs_expiry ON passkey_proofs (expires_at);
CREATE INDEX passkey_proofs_user ON passkey_proofs (user_id);

-- Registrations of authenticator apps, of a user or of an account that only the application knows. `secret` is sealed. `last_step` is the
-- newest step of time whose code was taken. `failures` are the times of wrong codes that still count, a JSON text. One that is never
-- enabled expires.
CREATE TABLE totp_registrations (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  user_id INTEGER,
  account_name TEXT,
  secret BLOB NOT NULL,
  last_step INTEGER NOT NULL,
  failures TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  enabled_at INTEGER,
  expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX totp_registrations_user ON totp_registrations (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX totp_registrations_expiry ON totp_registrations (expires_at) WHERE expires_at IS NOT NULL;

-- Backup codes that were not used yet, HMACed under a key that is sealed with the registration's secret.
CREATE TABLE totp_backup_codes (
  registration_id INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (registration_id, hash)
) STRICT, WITHOUT ROWID;

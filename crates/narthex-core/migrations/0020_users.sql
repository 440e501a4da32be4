-- Users, their memberships and invitations, and what a user leaves behind.

-- One row per address in an environment. `email` is as it was given, `email_key` what addresses are compared by. Maps and lists are
-- JSON texts. `search_text` is address, id and external id, normalised.
CREATE TABLE users (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL,
  external_id TEXT,
  metadata TEXT NOT NULL,
  profile_id INTEGER NOT NULL,
  given_name TEXT NOT NULL,
  family_name TEXT NOT NULL,
  name TEXT NOT NULL,
  locale TEXT NOT NULL,
  email_verified INTEGER NOT NULL,
  phone_number TEXT NOT NULL,
  phone_number_verified INTEGER NOT NULL,
  preferred_username TEXT NOT NULL,
  picture TEXT NOT NULL,
  gender TEXT NOT NULL,
  user_groups TEXT NOT NULL,
  profile_metadata TEXT NOT NULL,
  custom_attributes TEXT NOT NULL,
  search_text TEXT NOT NULL,
  last_login_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX users_environment ON users (environment_id, id);
CREATE UNIQUE INDEX users_email ON users (environment_id, email_key);
CREATE UNIQUE INDEX users_external_id ON users (environment_id, external_id) WHERE external_id IS NOT NULL;

-- The same person at the identity providers that they have signed in with.
CREATE TABLE external_identities (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  connection_id INTEGER NOT NULL,
  connection_type TEXT NOT NULL,
  connection_provider INTEGER NOT NULL,
  connection_user_id TEXT NOT NULL,
  is_social INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  last_login_at INTEGER,
  last_synced_at INTEGER
) STRICT;
CREATE UNIQUE INDEX external_identities_subject ON external_identities (connection_id, connection_user_id);
CREATE INDEX external_identities_user ON external_identities (user_id, id);

-- States: 1 active, 2 inactive, 3 invited; an invitation past `expires_at` is an expired one. `inviter_key` is the inviter's address
-- as addresses are compared.
CREATE TABLE memberships (
  organization_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  environment_id INTEGER NOT NULL,
  state INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  inviter_email TEXT,
  inviter_key TEXT,
  provisioning TEXT NOT NULL,
  invited_at INTEGER,
  expires_at INTEGER,
  accepted_at INTEGER,
  joined_at INTEGER,
  resent_at INTEGER,
  resent_count INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (organization_id, user_id)
) STRICT;
CREATE INDEX memberships_user ON memberships (user_id, organization_id);
CREATE INDEX memberships_inviter ON memberships (environment_id, inviter_key) WHERE inviter_key IS NOT NULL;

CREATE INDEX membership_roles_user ON membership_roles (user_id, organization_id, role_id);

-- Secrets of invitation links, as their SHA-256 only. A reminder adds one beside those that were sent before.
CREATE TABLE invitation_tokens (
  token_hash BLOB NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX invitation_tokens_membership ON invitation_tokens (organization_id, user_id, created_at);
CREATE INDEX invitation_tokens_user ON invitation_tokens (user_id);
CREATE INDEX invitation_tokens_expiry ON invitation_tokens (expires_at);

-- How an environment handles its users. Without a row it has the defaults.
CREATE TABLE user_management (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  allow_duplicate_user_identities INTEGER NOT NULL,
  allow_multiple_memberships INTEGER NOT NULL,
  allow_organization_signup INTEGER NOT NULL,
  single_organization INTEGER NOT NULL,
  max_users_limit INTEGER,
  invitation_expiry_minutes INTEGER NOT NULL,
  block_disposable_email_domains INTEGER NOT NULL,
  block_public_email_domains INTEGER NOT NULL,
  sync_user_profile_on_signin INTEGER NOT NULL,
  enable_bot_detection INTEGER NOT NULL,
  enable_fail_open INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- Which events tell of which user: those whose personal data goes when the user does.
CREATE TABLE event_subjects (
  user_id INTEGER NOT NULL,
  event_id INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_subjects_expiry ON event_subjects (expires_at);

-- Events whose personal data was taken out, with the digest of what is left: the audit chain vouches for the digest before.
CREATE TABLE event_redactions (
  event_id INTEGER NOT NULL PRIMARY KEY,
  digest BLOB NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX event_redactions_expiry ON event_redactions (expires_at);

-- Deleted users whose traces are still to be removed.
CREATE TABLE erasures (
  user_id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  email_key TEXT NOT NULL
) STRICT;

-- The key that an environment vouches for addresses with, towards a support widget. Sealed.
CREATE TABLE support_keys (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  key BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

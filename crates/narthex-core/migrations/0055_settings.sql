-- Settings of environments, their branding and its files, and operators who sign in.

-- A domain of the customer's that the session cookie is set for, instead of the environment's host alone.
ALTER TABLE environments ADD COLUMN cookie_custom_domain TEXT;

-- Whether `max_users_limit` counts: a limit that is switched off keeps its number.
ALTER TABLE user_management ADD COLUMN max_users_limit_enabled INTEGER NOT NULL DEFAULT 1;

-- The look of an environment's hosted pages: free-form settings, as JSON.
CREATE TABLE environment_branding (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  settings TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- What the dashboard notes down of an environment and of a workspace, as JSON.
CREATE TABLE environment_contexts (
  environment_id INTEGER NOT NULL PRIMARY KEY,
  content TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
ALTER TABLE workspaces ADD COLUMN dashboard_context TEXT NOT NULL DEFAULT '{}';

-- Images and fonts of hosted pages. Until its file has come, an asset has the SHA-256 of the secret that lets it be sent, and an end.
CREATE TABLE assets (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  extension TEXT NOT NULL,
  content BLOB,
  upload_hash BLOB,
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE INDEX assets_environment ON assets (environment_id, id);
CREATE UNIQUE INDEX assets_upload ON assets (upload_hash) WHERE upload_hash IS NOT NULL;
CREATE INDEX assets_expiry ON assets (expires_at) WHERE expires_at IS NOT NULL;

-- `members.status` has the numbers of `MembershipStatus`: 1 active, 2 inactive, 3 invited; an invitation past `expires_at` has run out.
-- `user_id` is the user of the product's own environment who has proven to read mail at the address.
ALTER TABLE members ADD COLUMN user_id INTEGER;
ALTER TABLE members ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE members ADD COLUMN inviter_email TEXT;
ALTER TABLE members ADD COLUMN invited_at INTEGER;
ALTER TABLE members ADD COLUMN expires_at INTEGER;
ALTER TABLE members ADD COLUMN joined_at INTEGER;
CREATE INDEX members_address ON members (email);

-- Links that open an operator's session once, as the SHA-256 of their secrets.
CREATE TABLE operator_links (
  token_hash BLOB NOT NULL PRIMARY KEY,
  member_id INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX operator_links_expiry ON operator_links (expires_at);

-- Organizations with their settings, branding and portal links.

-- `features` are the enabled ones and `features_set` those ever switched, as bits (narthex_core::organizations::Feature).
-- `search_text` is name, id and external id, normalised.
CREATE TABLE organizations (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  display_name TEXT NOT NULL,
  region TEXT NOT NULL,
  external_id TEXT,
  slug TEXT,
  logo_url TEXT,
  metadata TEXT NOT NULL,
  features INTEGER NOT NULL,
  features_set INTEGER NOT NULL,
  max_allowed_users INTEGER,
  session_absolute_minutes INTEGER,
  session_idle_minutes INTEGER,
  search_text TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX organizations_environment ON organizations (environment_id, id);
CREATE UNIQUE INDEX organizations_external_id ON organizations (environment_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX organizations_slug ON organizations (environment_id, slug) WHERE slug IS NOT NULL;

-- What was deleted and when, as long as its events are kept.
CREATE TABLE deleted_organizations (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_organizations_expiry ON deleted_organizations (expires_at);

CREATE TABLE organization_branding (
  organization_id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  settings TEXT,
  updated_at INTEGER NOT NULL
) STRICT;

-- The secret in a link's location is kept as its SHA-256 only.
CREATE TABLE portal_links (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  token_hash BLOB NOT NULL,
  features INTEGER NOT NULL,
  reusable INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX portal_links_token ON portal_links (token_hash);
CREATE INDEX portal_links_organization ON portal_links (organization_id, id);
CREATE INDEX portal_links_expiry ON portal_links (expires_at);

CREATE INDEX sessions_organization ON sessions (organization_id) WHERE organization_id IS NOT NULL;

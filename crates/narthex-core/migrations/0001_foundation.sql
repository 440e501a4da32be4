-- Workspaces, environments, their callers and their keys. Times are microseconds since the epoch, UTC; booleans are 0/1; lists
-- and maps are JSON texts; enumerations have the numbers of the wire where the wire has them.

-- Versions of cached rows: raised in the transaction that changes them, polled by every node.
CREATE TABLE cache_epoch (
  scope TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL
) STRICT;

-- Leases of the node numbers inside ids. No id of a node is later than its high-water mark, which is written before it is used.
CREATE TABLE nodes (
  number INTEGER NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  high_water_millis INTEGER NOT NULL
) STRICT;

-- Which master keys this database knows. The keys themselves live outside.
CREATE TABLE master_keys (
  id TEXT NOT NULL PRIMARY KEY,
  check_value BLOB NOT NULL,
  active INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE workspaces (
  id INTEGER NOT NULL PRIMARY KEY,
  display_name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE environments (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspaces (id),
  kind INTEGER NOT NULL,
  is_system INTEGER NOT NULL,
  display_name TEXT NOT NULL,
  domain TEXT NOT NULL,
  origin TEXT NOT NULL,
  custom_domain TEXT,
  custom_domain_status INTEGER NOT NULL,
  authentication_mode INTEGER NOT NULL,
  access_token_expiry INTEGER NOT NULL,
  access_token_expiry_unit INTEGER NOT NULL,
  client_access_token_expiry INTEGER NOT NULL,
  absolute_session_timeout INTEGER NOT NULL,
  absolute_session_timeout_unit INTEGER NOT NULL,
  idle_session_enabled INTEGER NOT NULL,
  idle_session_timeout INTEGER NOT NULL,
  idle_session_timeout_unit INTEGER NOT NULL,
  session_management_enabled INTEGER NOT NULL,
  cookie_persistence INTEGER NOT NULL,
  cookie_same_site INTEGER NOT NULL,
  features TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX environments_workspace ON environments (workspace_id, id);
-- The product's own environment, which signs the tokens of operators, exists once.
CREATE UNIQUE INDEX environments_system ON environments (is_system) WHERE is_system = 1;

-- Every host name (with its port, if it is not the scheme's own) that reaches an environment. One host, one environment.
CREATE TABLE environment_hosts (
  host TEXT NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  is_custom INTEGER NOT NULL,
  active INTEGER NOT NULL
) STRICT;
CREATE INDEX environment_hosts_environment ON environment_hosts (environment_id);

-- Keys that encrypt an environment's secrets, themselves encrypted by a master key.
CREATE TABLE data_keys (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  version INTEGER NOT NULL,
  status INTEGER NOT NULL,
  wrapped BLOB NOT NULL,
  master_key_id TEXT NOT NULL REFERENCES master_keys (id),
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX data_keys_version ON data_keys (environment_id, version);
CREATE UNIQUE INDEX data_keys_active ON data_keys (environment_id) WHERE status = 2;

-- States: 1 NEXT (published), 2 CURRENT (signs), 3 RETIRED (published), 4 REMOVED.
CREATE TABLE signing_keys (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  state INTEGER NOT NULL,
  public_key BLOB NOT NULL,
  private_key BLOB,
  longest_lifetime INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  activate_at INTEGER,
  activated_at INTEGER,
  retired_at INTEGER,
  remove_at INTEGER,
  removed_at INTEGER,
  withdrawn INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (environment_id) WHERE state = 1;
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (environment_id) WHERE state = 2;
CREATE INDEX signing_keys_environment ON signing_keys (environment_id, id);

CREATE TABLE members (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspaces (id),
  email TEXT NOT NULL,
  given_name TEXT NOT NULL,
  family_name TEXT NOT NULL,
  status INTEGER NOT NULL,
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX members_email ON members (workspace_id, email);

-- A member's role in one environment, in place of the one in the workspace.
CREATE TABLE member_environment_roles (
  member_id INTEGER NOT NULL REFERENCES members (id),
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  role TEXT NOT NULL,
  PRIMARY KEY (member_id, environment_id)
) STRICT;

CREATE TABLE clients (
  client_id TEXT NOT NULL PRIMARY KEY,
  key_id INTEGER NOT NULL,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  organization_id INTEGER,
  resource_id INTEGER,
  kind INTEGER NOT NULL,
  is_default INTEGER NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  disallow_api_access INTEGER NOT NULL,
  enforce_pkce INTEGER NOT NULL,
  access_token_expiry INTEGER,
  grant_types TEXT NOT NULL,
  scopes TEXT NOT NULL,
  audience TEXT NOT NULL,
  custom_claims TEXT NOT NULL,
  post_login_uris TEXT NOT NULL,
  post_logout_redirect_uris TEXT NOT NULL,
  back_channel_logout_uris TEXT NOT NULL,
  initiate_login_uri TEXT NOT NULL,
  tokens_valid_after INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX clients_environment ON clients (environment_id, kind, key_id);
CREATE INDEX clients_organization ON clients (organization_id, key_id) WHERE organization_id IS NOT NULL;
CREATE UNIQUE INDEX clients_default ON clients (environment_id) WHERE is_default = 1;

CREATE TABLE client_secrets (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  client_id TEXT NOT NULL REFERENCES clients (client_id),
  hash BLOB NOT NULL,
  suffix TEXT NOT NULL,
  status INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  last_used_at INTEGER,
  expires_at INTEGER,
  created_by TEXT NOT NULL
) STRICT;
CREATE INDEX client_secrets_client ON client_secrets (client_id, id);

-- Everything that a token names with `sid`. Kinds: 1 browser, 2 portal, 3 connected account, 4 operator.
CREATE TABLE sessions (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  user_id INTEGER,
  organization_id INTEGER,
  connected_account_id INTEGER,
  portal_link_id INTEGER,
  member_id INTEGER,
  features TEXT NOT NULL,
  permissions TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_link ON sessions (portal_link_id) WHERE portal_link_id IS NOT NULL;
CREATE INDEX sessions_member ON sessions (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX sessions_user ON sessions (environment_id, user_id) WHERE user_id IS NOT NULL;

CREATE TABLE permissions (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  built_in INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX permissions_name ON permissions (environment_id, name);

-- `organization_id` is null for the roles of the whole environment.
CREATE TABLE roles (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  organization_id INTEGER,
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  default_creator INTEGER NOT NULL,
  default_member INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX roles_name ON roles (environment_id, name) WHERE organization_id IS NULL;
CREATE UNIQUE INDEX roles_organization_name ON roles (organization_id, name) WHERE organization_id IS NOT NULL;

CREATE TABLE role_permissions (
  role_id INTEGER NOT NULL REFERENCES roles (id),
  permission_id INTEGER NOT NULL REFERENCES permissions (id),
  PRIMARY KEY (role_id, permission_id)
) STRICT;
CREATE INDEX role_permissions_permission ON role_permissions (permission_id);

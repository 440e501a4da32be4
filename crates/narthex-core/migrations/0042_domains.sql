-- Domains of organizations. `name` is in lower case and ASCII (IDNA). Types: 1 allowed email domain, 2 organization domain. States:
-- 1 pending, 2 verified, 3 failed, 4 verified by itself. Methods: 1 admin, 2 DNS, 3 none.
CREATE TABLE domains (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  type INTEGER NOT NULL,
  status INTEGER NOT NULL,
  method INTEGER NOT NULL,
  txt_key TEXT NOT NULL,
  txt_secret TEXT NOT NULL,
  window_ends_at INTEGER,
  checks INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX domains_organization ON domains (organization_id, name, type);
CREATE INDEX domains_list ON domains (organization_id, id);
-- A verified name routes the sign-ins of its addresses, so one organization of an environment has it.
CREATE UNIQUE INDEX domains_verified ON domains (environment_id, name) WHERE type = 2 AND status = 2;

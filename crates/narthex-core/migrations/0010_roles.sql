-- Roles with a base, who holds them, defaults of organizations, and the registry of user attributes.

-- A base is a role of the same environment, and of the same organization or of none. The chain of bases never closes: the walk that
-- refuses a cycle and the write that would close it stand in one transaction.
ALTER TABLE roles ADD COLUMN extends_role_id INTEGER REFERENCES roles (id);
CREATE INDEX roles_extends ON roles (extends_role_id) WHERE extends_role_id IS NOT NULL;
CREATE INDEX roles_environment_name ON roles (environment_id, name);

CREATE INDEX permissions_environment ON permissions (environment_id, id);
CREATE INDEX permissions_built_in ON permissions (environment_id, built_in, id);

-- Roles of a user in an organization. The reference keeps a role from going while somebody is getting it, and another environment's
-- role from being given at all.
CREATE UNIQUE INDEX roles_environment ON roles (environment_id, id);
CREATE TABLE membership_roles (
  environment_id INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  role_id INTEGER NOT NULL,
  PRIMARY KEY (organization_id, user_id, role_id),
  FOREIGN KEY (environment_id, role_id) REFERENCES roles (environment_id, id)
) STRICT;
CREATE INDEX membership_roles_role ON membership_roles (environment_id, role_id, organization_id, user_id);

-- The role of new members where an organization has another than its environment.
CREATE TABLE organization_default_roles (
  organization_id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  member_role_id INTEGER NOT NULL REFERENCES roles (id),
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX organization_default_roles_role ON organization_default_roles (member_role_id);

-- Catalogues: 1 sign-on and profile, 2 directory. A row of a standard attribute exists only where it was changed.
CREATE TABLE user_attributes (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  catalogue INTEGER NOT NULL,
  key TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  required INTEGER NOT NULL,
  label TEXT NOT NULL,
  datatype INTEGER NOT NULL,
  saml_mapping TEXT NOT NULL,
  oidc_mapping TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX user_attributes_key ON user_attributes (environment_id, catalogue, key);

-- Mail: servers and templates of customers, and mails that wait to be sent.

-- What an environment says of its mails apart from servers and templates. No name is the built-in one.
CREATE TABLE email_settings (
  environment_id INTEGER NOT NULL PRIMARY KEY REFERENCES environments (id),
  from_name TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- Providers have the wire's numbers; the password is sealed.
CREATE TABLE email_servers (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  provider INTEGER NOT NULL,
  enabled INTEGER NOT NULL,
  host TEXT NOT NULL,
  port INTEGER NOT NULL,
  username TEXT NOT NULL,
  password BLOB NOT NULL,
  from_email TEXT NOT NULL,
  from_name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX email_servers_environment ON email_servers (environment_id, id);
CREATE UNIQUE INDEX email_servers_enabled ON email_servers (environment_id) WHERE enabled = 1;

-- `organization_id` is 0 for the templates of the whole environment.
CREATE TABLE email_templates (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  organization_id INTEGER NOT NULL,
  use_case INTEGER NOT NULL,
  enabled INTEGER NOT NULL,
  subject TEXT NOT NULL,
  html TEXT NOT NULL,
  plain TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX email_templates_scope ON email_templates (environment_id, organization_id, id);
CREATE UNIQUE INDEX email_templates_enabled ON email_templates (environment_id, organization_id, use_case) WHERE enabled = 1;

-- Mails that follow a transaction. The payload is sealed: it holds a code or a link.
CREATE TABLE mail_outbox (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  payload BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX mail_outbox_expiry ON mail_outbox (expires_at);

-- Logins that are under way, and what binds a session to its browser.

-- `cookie_hash` is the SHA-256 of the secret in the browser's cookie. `authenticated_at` is when the user last proved who they are,
-- with what the connection stands for.
ALTER TABLE sessions ADD COLUMN cookie_hash BLOB;
ALTER TABLE sessions ADD COLUMN authenticated_at INTEGER;
ALTER TABLE sessions ADD COLUMN connection_id INTEGER;

-- A login from the authorization request to the code. `browser_hash` is the SHA-256 of the secret in the cookie of the browser that
-- began it. Stages: 1 identify, 2 prove an address, 3 proven, 4 organization chosen, 5 consent, 6 finished. `request` holds the
-- parameters of the authorization request and `proof` what has been proven, both JSON.
CREATE TABLE auth_requests (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  browser_hash BLOB NOT NULL,
  client_id TEXT NOT NULL,
  request TEXT NOT NULL,
  intent INTEGER NOT NULL,
  stage INTEGER NOT NULL,
  email TEXT,
  challenge_id TEXT,
  proof TEXT,
  user_id INTEGER,
  organization_id INTEGER,
  session_id INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX auth_requests_expiry ON auth_requests (expires_at);
CREATE INDEX auth_requests_user ON auth_requests (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX auth_requests_email ON auth_requests (environment_id, email) WHERE email IS NOT NULL;

-- What went wrong before the application was known, for the error page.
CREATE TABLE auth_errors (
  id INTEGER NOT NULL PRIMARY KEY,
  environment_id INTEGER NOT NULL,
  error TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX auth_errors_expiry ON auth_errors (expires_at);

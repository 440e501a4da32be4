-- What is shown of a user's session. `revoked_at` is its end however it ended; `ended_as` says how: 0 and 1 revoked, 2 logout,
-- 3 expired. Lists and the device are JSON texts.
ALTER TABLE sessions ADD COLUMN idle_expires_at INTEGER;
ALTER TABLE sessions ADD COLUMN updated_at INTEGER;
ALTER TABLE sessions ADD COLUMN last_active_at INTEGER;
ALTER TABLE sessions ADD COLUMN ended_as INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN organizations TEXT;
ALTER TABLE sessions ADD COLUMN clients TEXT;
ALTER TABLE sessions ADD COLUMN device TEXT;
CREATE INDEX sessions_of_user ON sessions (user_id, id) WHERE user_id IS NOT NULL;

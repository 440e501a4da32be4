-- Operators who are invited, and links that are remembered after their use.

ALTER TABLE members ADD COLUMN invited_count INTEGER NOT NULL DEFAULT 0;
CREATE INDEX members_user ON members (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX members_workspace ON members (workspace_id, id);

-- A link stays after its use until it is swept, so that a second use is known for one. `refused` counts those.
ALTER TABLE operator_links ADD COLUMN used_at INTEGER;
ALTER TABLE operator_links ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
CREATE INDEX operator_links_member ON operator_links (member_id);

-- Substring search: trigrams of users.search_text, keyed by user id, and the users whose trigrams are out of date; as for
-- organizations.
CREATE VIRTUAL TABLE user_search USING fts5(text, content='', contentless_delete=1, tokenize='trigram case_sensitive 1');
CREATE TABLE user_search_pending (
  user_id INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- Substring search: trigrams of organizations.search_text, keyed by organization id. Without content of its own: the text stands
-- in organizations. `remove_diacritics` stays off, since the text is normalised before it comes here.
CREATE VIRTUAL TABLE organization_search USING fts5(text, content='', contentless_delete=1, tokenize='trigram case_sensitive 1');

-- Organizations whose trigrams are out of date. FTS5 writes its index to disk at every savepoint, which would double what a
-- create costs: a job brings rows in by the hundred, and until then a search reads them one by one.
CREATE TABLE organization_search_pending (
  organization_id INTEGER NOT NULL PRIMARY KEY
) STRICT;

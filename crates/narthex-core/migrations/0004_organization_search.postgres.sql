-- Substring search by trigrams. The index keeps its own list of pending entries (fastupdate): no table for them is needed.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX organizations_search ON organizations USING gin (search_text gin_trgm_ops);

CREATE TABLE posts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  author_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  slug TEXT NOT NULL CHECK (length(slug) <= 200),
  title TEXT NOT NULL CHECK (length(title) <= 200),
  content TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'draft',
  created_at INTEGER NOT NULL,
  updated_at INTEGER
) STRICT;

CREATE UNIQUE INDEX posts_slug_key ON posts (slug);
CREATE INDEX posts_author_id_status_idx ON posts (author_id, status);
CREATE INDEX posts_status_created_at_idx ON posts (status, created_at);

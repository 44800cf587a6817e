ALTER TABLE posts
  ADD COLUMN summary TEXT NOT NULL DEFAULT '' CHECK (length(summary) <= 1000);

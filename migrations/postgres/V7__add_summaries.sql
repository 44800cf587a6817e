ALTER TABLE posts
  ADD COLUMN summary text COLLATE "C" NOT NULL DEFAULT '' CHECK (length(summary) <= 1000);

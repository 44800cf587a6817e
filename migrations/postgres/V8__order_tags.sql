ALTER TABLE post_tags ADD COLUMN position bigint NOT NULL DEFAULT 0;

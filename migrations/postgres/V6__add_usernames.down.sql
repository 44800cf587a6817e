ALTER TABLE users
  DROP COLUMN image,
  DROP COLUMN username;

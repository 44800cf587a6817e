DROP INDEX users_username_key;
ALTER TABLE users DROP COLUMN image;
ALTER TABLE users DROP COLUMN username;

ALTER TABLE users
  ADD COLUMN username text COLLATE "C" CHECK (length(username) <= 128),
  ADD COLUMN image text COLLATE "C" CHECK (length(image) <= 2048);

-- Names are not unique; with the key they are.
UPDATE users SET username = name || '-' || id;

CREATE UNIQUE INDEX users_username_key ON users (username);

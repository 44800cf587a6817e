ALTER TABLE users ADD COLUMN username TEXT CHECK (length(username) <= 128);
ALTER TABLE users ADD COLUMN image TEXT CHECK (length(image) <= 2048);

-- Names are not unique; with the key they are.
UPDATE users SET username = name || '-' || id;

CREATE UNIQUE INDEX users_username_key ON users (username);

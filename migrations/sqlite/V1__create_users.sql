CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL,
  name TEXT NOT NULL CHECK (length(name) <= 100),
  is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
  bio TEXT,
  password_hash TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER
) STRICT;

CREATE UNIQUE INDEX users_email_key ON users (email);

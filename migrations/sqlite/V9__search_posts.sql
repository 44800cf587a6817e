-- Words are runs of ASCII letters, digits and what is beyond ASCII: typographic marks, by their
-- numbers, become spaces.
CREATE VIEW posts_search_text AS
SELECT id,
  CASE WHEN length(title) = length(CAST(title AS BLOB)) THEN title ELSE
    replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(title
    , char(160), ' '), char(161), ' '), char(171), ' '), char(183), ' ')
    , char(187), ' '), char(191), ' '), char(8194), ' '), char(8195), ' ')
    , char(8201), ' '), char(8203), ' '), char(8208), ' '), char(8209), ' ')
    , char(8210), ' '), char(8211), ' '), char(8212), ' '), char(8213), ' ')
    , char(8216), ' '), char(8217), ' '), char(8218), ' '), char(8220), ' ')
    , char(8221), ' '), char(8222), ' '), char(8226), ' '), char(8230), ' ')
    , char(8239), ' '), char(12288), ' '), char(12289), ' '), char(12290), ' ')
    , char(65279), ' ')
  END AS title,
  CASE WHEN length(content) = length(CAST(content AS BLOB)) THEN content ELSE
    replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(content
    , char(160), ' '), char(161), ' '), char(171), ' '), char(183), ' ')
    , char(187), ' '), char(191), ' '), char(8194), ' '), char(8195), ' ')
    , char(8201), ' '), char(8203), ' '), char(8208), ' '), char(8209), ' ')
    , char(8210), ' '), char(8211), ' '), char(8212), ' '), char(8213), ' ')
    , char(8216), ' '), char(8217), ' '), char(8218), ' '), char(8220), ' ')
    , char(8221), ' '), char(8222), ' '), char(8226), ' '), char(8230), ' ')
    , char(8239), ' '), char(12288), ' '), char(12289), ' '), char(12290), ' ')
    , char(65279), ' ')
  END AS content
FROM posts;

CREATE VIRTUAL TABLE posts_search USING fts5 (title, content, content = posts_search_text, content_rowid = id, tokenize = 'ascii');

CREATE TRIGGER posts_search_insert AFTER INSERT ON posts BEGIN
  INSERT INTO posts_search (rowid, title, content)
  SELECT id, title, content FROM posts_search_text WHERE id = new.id;
END;

CREATE TRIGGER posts_search_delete BEFORE DELETE ON posts BEGIN
  INSERT INTO posts_search (posts_search, rowid, title, content)
  SELECT 'delete', id, title, content FROM posts_search_text WHERE id = old.id;
END;

CREATE TRIGGER posts_search_update_from BEFORE UPDATE OF id, title, content ON posts BEGIN
  INSERT INTO posts_search (posts_search, rowid, title, content)
  SELECT 'delete', id, title, content FROM posts_search_text WHERE id = old.id;
END;

CREATE TRIGGER posts_search_update_to AFTER UPDATE OF id, title, content ON posts BEGIN
  INSERT INTO posts_search (rowid, title, content)
  SELECT id, title, content FROM posts_search_text WHERE id = new.id;
END;

INSERT INTO posts_search (posts_search) VALUES ('rebuild');

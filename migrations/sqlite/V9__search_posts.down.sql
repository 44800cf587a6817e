DROP TRIGGER posts_search_insert;
DROP TRIGGER posts_search_delete;
DROP TRIGGER posts_search_update_from;
DROP TRIGGER posts_search_update_to;
DROP TABLE posts_search;
DROP VIEW posts_search_text;

-- The words of title and content, folded and quoted, as they are: no parser, whose rule depends on
-- the locale. Words over 250 characters are cut.
CREATE INDEX posts_search ON posts USING gin ((
  regexp_replace(
    regexp_replace(
      lower((
        ' ' || regexp_replace(title, '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2002\u2003\u2009\u200b\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u202f\u3000\u3001\u3002\ufeff]+', ' ', 'g')
        || ' | ' || regexp_replace(content, '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2002\u2003\u2009\u200b\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u202f\u3000\u3001\u3002\ufeff]+', ' ', 'g')
        || ' '
      ) COLLATE "C"),
      '([^ ]{251})[^ ]+', '\1', 'g'
    ),
    '[^ ]+', '''\&''', 'g'
  )::tsvector
));

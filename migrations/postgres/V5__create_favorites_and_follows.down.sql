DROP TABLE follows;
DROP TABLE favorites;

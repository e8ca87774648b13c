-- Since when minutes and hours are complete: servers can keep them for a shorter time than the program that reads them expects.
-- Before a server removes some it raises `since`.
CREATE TABLE usage_kept (
    resolution TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO usage_kept (resolution, since) VALUES ('minute', 0), ('hour', 0);

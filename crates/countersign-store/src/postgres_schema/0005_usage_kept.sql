-- Since when minutes and hours are complete: servers can keep them for a shorter time than the program that reads them expects.
-- Before a server removes some it raises `since`.
CREATE TABLE countersign.usage_kept (
    resolution text COLLATE "C" NOT NULL PRIMARY KEY,
    since bigint NOT NULL
);

INSERT INTO countersign.usage_kept (resolution, since) VALUES ('minute', 0), ('hour', 0);

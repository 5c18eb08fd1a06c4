-- Numbers of the last rows. Every writer updates this row first, so that in
-- SQLite and Postgres alike writers come one after another and numbers appear in
-- the order of their commits: who has seen change 7 never finds a change 6 later.
CREATE TABLE inbox_seq (
    one     INTEGER PRIMARY KEY,
    ticket  INTEGER NOT NULL,
    comment INTEGER NOT NULL,
    change  INTEGER NOT NULL
);
INSERT INTO inbox_seq (one, ticket, comment, change) VALUES (1, 1000, 0, 0);

-- doc is how the ticket was opened, standing how it stands.
CREATE TABLE inbox_tickets (
    number   INTEGER PRIMARY KEY,
    id       TEXT NOT NULL,
    sink     TEXT NOT NULL,
    key      TEXT NOT NULL UNIQUE,
    schema   INTEGER NOT NULL,
    queue    TEXT NOT NULL,
    assignee TEXT NOT NULL,
    standing TEXT NOT NULL,
    doc      TEXT NOT NULL
);

CREATE TABLE inbox_comments (
    id     INTEGER PRIMARY KEY,
    ticket INTEGER NOT NULL REFERENCES inbox_tickets (number),
    key    TEXT UNIQUE,
    schema INTEGER NOT NULL,
    doc    TEXT NOT NULL
);
CREATE INDEX inbox_comments_ticket ON inbox_comments (ticket);

CREATE TABLE inbox_changes (
    id     INTEGER PRIMARY KEY,
    sink   TEXT NOT NULL,
    schema INTEGER NOT NULL,
    doc    TEXT NOT NULL
);

INSERT INTO inbox_version (version) VALUES (1);

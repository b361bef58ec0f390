"""The tables of a database of mobile routers. What a constraint refuses, no program has to."""

from __future__ import annotations

_TABLES = """
CREATE TABLE mobile_router (
    home_address BLOB PRIMARY KEY CHECK (typeof(home_address) = 'blob' AND length(home_address) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name GLOB '[a-z]*' AND name NOT GLOB '*[^a-z0-9-]*'),
    replay TEXT NOT NULL DEFAULT 'timestamp' CHECK (replay IN ('timestamp', 'sequence')),
    -- Names of Home Agents with spaces between; NULL: all.
    proxies TEXT,
    {leak}
) WITHOUT ROWID;
CREATE TABLE prefix (
    address BLOB NOT NULL CHECK (typeof(address) = 'blob' AND length(address) = 16),
    length INTEGER NOT NULL CHECK (length BETWEEN 1 AND 128),
    home_address BLOB NOT NULL REFERENCES mobile_router,
    PRIMARY KEY (address, length)
) WITHOUT ROWID;
CREATE INDEX prefix_of_home_address ON prefix (home_address, address, length);
CREATE TABLE key (
    home_address BLOB NOT NULL REFERENCES mobile_router,
    position INTEGER NOT NULL,
    spi INTEGER NOT NULL CHECK (spi BETWEEN 256 AND 4294967295),
    algorithm TEXT NOT NULL DEFAULT 'hmac-sha1' CHECK (algorithm IN ('hmac-sha1', 'hmac-sha256')),
    key BLOB NOT NULL CHECK (typeof(key) = 'blob' AND length(key) BETWEEN 16 AND 64),
    PRIMARY KEY (home_address, position),
    UNIQUE (home_address, spi)
) WITHOUT ROWID;
CREATE TABLE change (
    home_address BLOB PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE
) WITHOUT ROWID;
CREATE TRIGGER without_mobile_router AFTER DELETE ON mobile_router BEGIN
    DELETE FROM prefix WHERE home_address = old.home_address;
    DELETE FROM key WHERE home_address = old.home_address;
END;
"""

_NOTE = "REPLACE INTO change SELECT {row}.home_address, coalesce(max(number), 0) + 1 FROM change;"
"""A deleted home address keeps its row, so the highest number never goes down."""


def _triggers(table: str) -> str:
    events = {"INSERT": ("new",), "UPDATE": ("old", "new"), "DELETE": ("old",)}
    return "".join(
        f"CREATE TRIGGER {table}_{event.lower()} AFTER {event} ON {table} BEGIN"
        f" {' '.join(_NOTE.format(row=row) for row in rows)} END;\n"
        for event, rows in events.items()
    )


_LEAK = "leak TEXT CHECK (leak IN ('always', 'on-traffic', 'never'))"
"""NULL: as the site has it."""

SCHEMA = _TABLES.format(leak=_LEAK) + "".join(map(_triggers, ("mobile_router", "prefix", "key")))
"""SQL that makes all of it."""

UPGRADES = {1: f"ALTER TABLE mobile_router ADD COLUMN {_LEAK};"}
"""SQL that makes the next format of an older one, which keeps what is in it."""

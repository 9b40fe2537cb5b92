"""The tables, as an ordered list of named migrations.

Comes in: nothing. Goes out: `MIGRATIONS`, which `store.database` applies one by one.
Does not know: how a connection is opened.
"""

from __future__ import annotations

FIRST = """
create table show (
    id            text primary key,
    link          text not null unique,
    kind          text not null check (kind in ('feed', 'site', 'folder', 'file', 'link')),
    title         text not null,
    description   text not null default '',
    author        text not null default '',
    language      text,
    image_url     text not null default '',
    page_url      text not null default '',
    etag          text not null default '',
    last_modified text not null default '',
    synced_at     real,
    options       text not null default '{}',
    created_at    real not null
) strict;

create table recording (
    id         integer primary key autoincrement,
    sha256     text not null unique,
    path       text not null,               -- relative to the data folder where we keep it, else absolute; '' once dropped
    size_bytes integer not null,
    duration_s real,
    warning    text not null default '',
    created_at real not null
) strict;

create table transcript (
    id           integer primary key autoincrement,
    recording_id integer references recording (id) on delete cascade,
    source       text not null check (source in ('engine', 'publisher', 'site', 'site-automatic', 'sidecar')),
    engine       text not null default '',
    model        text not null default '',
    language     text,
    options      text not null default '{}',
    warnings     text not null default '[]',
    created_at   real not null
) strict;
create index transcript_by_recording on transcript (recording_id);

create table segment (
    transcript_id integer not null references transcript (id) on delete cascade,
    ordinal       integer not null,
    start_s       real not null,
    end_s         real not null,
    text          text not null,
    speaker       text,
    language      text,
    flags         text not null default '[]',
    words         text not null default '[]',  -- [[text, start_s, end_s, probability], ...]
    primary key (transcript_id, ordinal)
) strict;

create table episode (
    id            text primary key,
    show_id       text not null references show (id) on delete cascade,
    guid          text not null,
    title         text not null,
    description   text not null default '',
    published     text not null default '',
    page_url      text not null default '',
    media_url     text not null default '',
    media_type    text not null default '',
    image_url     text not null default '',
    language      text,
    duration_s    real,
    people        text not null default '[]',  -- [[name, role], ...]
    chapters      text not null default '[]',  -- [[start_s, title], ...]
    chapters_url  text not null default '',
    transcripts   text not null default '[]',  -- [[url, media_type, language, automatic], ...]
    recording_id  integer references recording (id),
    transcript_id integer references transcript (id),
    warning       text not null default '',
    created_at    real not null,
    unique (show_id, guid)
) strict;
create index episode_by_published on episode (published);
create index episode_by_recording on episode (recording_id);
create index episode_by_transcript on episode (transcript_id);

create table passage (
    id         integer primary key autoincrement,  -- never reused: the index knows passages by it
    episode_id text not null references episode (id) on delete cascade,
    ordinal    integer not null,
    start_s    real not null,
    end_s      real not null,
    text       text not null,
    text_hash  text not null,
    sentences  text not null,                      -- [[start_char, start_s, end_s], ...]
    speakers   text not null default '[]',
    language   text,
    unique (episode_id, ordinal)
) strict;
create index passage_by_text on passage (text_hash);

create table vector (
    text_hash text not null,
    model     text not null,
    value     blob not null,                       -- fp16, little-endian, normalised
    primary key (text_hash, model)
) strict, without rowid;

create table speaker (
    episode_id text not null references episode (id) on delete cascade,
    label      text not null,
    name       text not null default '',
    talk_s     real not null default 0,
    primary key (episode_id, label)
) strict;

create table chunk (
    recording_id integer not null references recording (id) on delete cascade,
    plan         text not null,                    -- what cut it and what decodes it: speech settings, engine, model, options
    ordinal      integer not null,
    spans        text not null,                    -- [[start_s, end_s], ...] of speech, at most 30 s together
    segments     text,                             -- null until decoded
    primary key (recording_id, plan, ordinal)
) strict;

create table job (
    id          integer primary key autoincrement,
    kind        text not null check (kind in ('list', 'sync', 'fetch', 'transcribe', 'index', 'remove')),
    show_id     text references show (id) on delete cascade,
    episode_id  text references episode (id) on delete cascade,
    state       text not null default 'queued'
                check (state in ('queued', 'running', 'done', 'failed', 'paused', 'cancelled')),
    attempt     integer not null default 0,        -- counts claims: with the owner it fences off a dead worker's writes
    failures    integer not null default 0,        -- in a row, without progress between them: too many make a job poison
    not_before  real not null default 0,
    lease_owner text,
    lease_until real,
    options     text not null default '{}',
    error       text not null default '',
    progress    real not null default 0,           -- 0 to 1
    created_at  real not null,
    updated_at  real not null
) strict;
create index job_by_state on job (state, not_before, id);
create index job_by_episode on job (episode_id);
create unique index job_once on job (kind, coalesce(episode_id, ''), coalesce(show_id, ''), coalesce(options ->> 'link', ''))
    where state in ('queued', 'running', 'paused');

create table change (
    id               integer primary key autoincrement,
    episode_id       text not null,
    action           text not null check (action in ('add', 'remove')),
    first_passage_id integer not null,             -- both ends included
    last_passage_id  integer not null,
    at               real not null
) strict;
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (("0001 first tables", FIRST),)

//! What clients notice when Redis or Postgres is killed, frozen and restarted, and when a database fails in part.

mod hiccups;
mod no_room;
mod nodes;
mod partial;
mod postgres;
mod redis;
mod redis_clock;
mod redis_keys;
mod sqlite_content;
mod sqlite_file;

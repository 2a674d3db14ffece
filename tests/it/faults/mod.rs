//! What clients notice when Redis or Postgres is killed, frozen and restarted.

mod postgres;
mod redis;

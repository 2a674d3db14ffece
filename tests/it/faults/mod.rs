//! What clients notice when Redis or Postgres is killed, frozen and restarted.

mod postgres;
mod redis;
mod redis_clock;
mod redis_keys;

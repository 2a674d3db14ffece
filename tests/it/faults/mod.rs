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

use testkit::{Node, eventually};

async fn breaker_is(node: &Node, open: bool) {
    let expected = f64::from(u8::from(open));
    eventually("the breaker changes", async || {
        let open = node.metric("shunt_limiter_breaker_open", &[]).await;
        (open == expected).then_some(())
    })
    .await;
}

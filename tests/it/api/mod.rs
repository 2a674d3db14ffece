//! What a client sees of one node.
//!
//! | module | what it shows |
//! |---|---|
//! | `home` | the page at `/`, and the pages that browsers get in place of JSON |
//! | `shorten` | `POST /shorten`: what goes in and what comes out |
//! | `origin` | what a short link begins with, and that it never leads back to the service |
//! | `terms` | aliases, expiry, a number of visits |
//! | `follow` | `GET` and `HEAD /<code>`, and paths that no link could have |
//! | `errors` | the form of every refusal |
//! | `bad_input` | a clear 4xx, and nothing stored |
//! | `request_id` | `X-Request-Id` |
//! | `rate_limit` | the headers, the countdown, the refusal |
//! | `policies` | exemptions, named policies, tiers |
//! | `clients` | who is counted: peers, proxies, networks |
//! | `slow_clients` | connections that take their time |
//! | `management` | probes and metrics |
//! | `readiness` | whether a node can serve something useful, and whether everything works |

mod bad_input;
mod clients;
mod errors;
mod exchange;
mod follow;
mod home;
mod management;
mod origin;
mod policies;
mod rate_limit;
mod readiness;
mod request_id;
mod shorten;
mod slow_clients;
mod terms;

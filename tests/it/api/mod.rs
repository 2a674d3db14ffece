//! What a client sees of one node.
//!
//! | module | what it shows |
//! |---|---|
//! | `home` | the page at `/`, and the pages that browsers get in place of JSON |
//! | `shorten` | `POST /shorten`: what goes in and what comes out |
//! | `origin` | what a short link begins with, and that it never leads back to the service |
//! | `terms` | aliases, expiry, a number of visits |
//! | `options` | what else links can have |
//! | `follow` | `GET` and `HEAD /<code>`, and paths that no link could have |
//! | `spelling` | other spellings of a path, and what chat programs glue to a link |
//! | `onlookers` | machines that only look use up no visit |
//! | `assets` | what a browser fetches by itself |
//! | `errors` | the form of every error |
//! | `caching` | what answers say to caches |
//! | `accept` | which clients get a page and which get JSON |
//! | `bodies` | how bodies are read: codings, byte-order marks, white space, encoded characters |
//! | `schemes` | targets that are not of the web, where the configuration allows them |
//! | `cors` | pages of other sites |
//! | `bad_input` | a clear 4xx, and nothing stored |
//! | `request_id` | `X-Request-Id` |
//! | `rate_limit` | the headers, the countdown, the refusal |
//! | `routes` | which route a request is for, by its method and its path |
//! | `policies` | exemptions, named policies, tiers |
//! | `clients` | which client is counted: peers, proxies, networks |
//! | `client_header` | other headers in which proxies name the client |
//! | `slow_clients` | connections that take their time |
//! | `pipelining` | what clients may make a node keep for them |
//! | `management` | probes and metrics |
//! | `readiness` | whether a node can serve anything useful, and whether everything works |
//! | `document` | every answer of the API is as its document says |
//! | `exchange` | requests that several of these files send, and how they read the answers |

mod accept;
mod assets;
mod bad_input;
mod bodies;
mod caching;
mod client_header;
mod clients;
mod cors;
pub mod document;
mod errors;
pub mod exchange;
mod follow;
mod home;
mod management;
mod onlookers;
mod options;
mod origin;
mod pipelining;
mod policies;
mod rate_limit;
mod readiness;
mod request_id;
mod routes;
mod schemes;
mod shorten;
mod slow_clients;
mod spelling;
mod terms;

//! Titles of pages, for links that were made without a title.
//!
//! | file | what it is about |
//! |---|---|
//! | `queue` | which links wait for a title, and what becomes of them |
//! | `fetch` | how a page is asked for, from redirect to redirect |
//! | `network` | where the node may connect to |
//! | `html` | where the title stands in a page; `entities` has the names of characters |
//! | `metrics` | what is measured |
//!
//! A person who makes a link decides where the node connects to. So each address is checked right before the node
//! connects to it, and everything is bounded: the time, what is read, how many pages are fetched at once and how many
//! wait. Nothing of a page but its title is kept, and nobody is told what a page answered.

mod entities;
mod fetch;
mod html;
mod metrics;
mod network;
mod queue;

pub use fetch::{FetchError, Fetcher};
pub use metrics::TitleMetrics;
pub use network::{Network, Resolve, is_public, trusted_certificates};
pub use queue::Titles;

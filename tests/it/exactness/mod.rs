//! No client gets more than its quota, whatever happens to Redis, to the connections to it, and to the nodes.
//!
//! Each test is a row of the table of faults: three nodes, a real Redis, clients of many kinds, and one fault. The
//! [checker] says afterwards what the clients can prove. The rows of `shielded` have one quota and the flood shield;
//! those of `two_quotas` have two policies at once and no shield. Nodes wait for Redis as long as they do by default. So
//! on a busy machine some requests are decided without Redis at any time, and the limit holds all the same.
//!
//! | file | what it holds |
//! |---|---|
//! | `checker` | the verdicts on the requests of one client, pure |
//! | `setup` | the nodes and their quotas |
//! | `load` | the clients, and the record of their requests |
//! | `row` | a load, a fault, and what was found |
//! | `hiccups` | Redis, the way to it, or a node is away for less than a window |
//! | `outages` | Redis is away or has lost its data; a node is away for long or cut off |
//! | `sentinel`, `shards` | a failover; a cluster of three shards |

mod checker;
mod hiccups;
mod load;
mod outages;
mod row;
mod sentinel;
mod setup;
mod shards;

use self::setup::Setup;

/// Makes a test of each row with a setup.
macro_rules! rows {
    ($setup:ident: $($file:ident::{$($row:ident),+ $(,)?}),+ $(,)?) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $row() {
                testkit::needs!("redis-server");
                super::$file::$row(&super::Setup::$setup()).await;
            }
        )+)+
    };
}

/// Makes a test of each row with a single Redis.
macro_rules! rows_with_one_server {
    ($setup:ident) => {
        rows!(
            $setup:
            hiccups::{
                nothing_happens,
                nothing_happens_and_nodes_are_patient,
                redis_stands_still_once,
                redis_stands_still_again_and_again,
                connections_are_killed,
                nodes_stand_still_one_after_another,
                the_way_to_redis_is_slow,
                the_way_to_redis_is_slow_and_nodes_are_patient,
            },
            outages::{
                redis_is_frozen_and_thawed,
                redis_comes_back_empty,
                redis_comes_back_from_an_old_snapshot,
                everything_is_flushed,
                a_node_stands_still_for_longer_than_a_window,
                one_node_alone_is_cut_off,
                an_operator_resets_a_client,
            },
        );
    };
}

mod shielded {
    rows_with_one_server!(one_quota);
    rows!(
        one_quota:
        sentinel::{
            the_master_is_killed,
            a_failover_is_planned,
        },
        shards::{
            a_shard_is_killed,
            the_shard_of_slot_0_is_killed,
            slots_are_moved,
            a_replica_without_the_last_writes_takes_over,
        },
    );
}

mod two_quotas {
    rows_with_one_server!(two_quotas);
}

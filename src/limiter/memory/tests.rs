use std::{env, fs, net::Ipv4Addr, process::Command, time::Duration};

use super::*;
use crate::limiter::{LogEntry, journal::Journal, shards::SHARDS};

fn client(number: u32) -> ClientId {
    ClientId::new(Ipv4Addr::from_bits(number).into(), 64)
}

fn policy(quota: &str) -> Policy {
    Policy::default_policy(quota.parse().expect("a quota"))
}

#[test]
fn idle_clients_are_dropped_while_others_are_busy() {
    let store = MemoryStore::new(64 << 20);
    let policy = policy("10/s");
    for number in 0..10_000 {
        store.decide(&policy, client(number), LogTime::from_micros(0));
    }
    assert_eq!(store.usage().clients, 10_000);
    for number in 20_000..24_000 {
        store.decide(&policy, client(number), LogTime::from_micros(1_000_000));
    }
    assert_eq!(store.usage().clients, 4_000);
    assert_eq!(store.usage().evictions, 0, "idle is not evicted");
}

#[test]
fn a_sweep_drops_the_idle_even_behind_a_longer_window() {
    let store = MemoryStore::new(64 << 20);
    let long = Policy {
        name: "longer".parse().expect("a name"),
        quota: "10/hour".parse().expect("a quota"),
    };
    let at = store.now();
    for number in 0..1_000 {
        store.decide(&long, client(number), at);
    }
    let short = policy("10/ms");
    for number in 0..1_000 {
        store.decide(&short, client(number), at);
    }
    while store.now() - at < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    store.sweep();
    assert_eq!(store.usage().clients, 1_000);
    assert_eq!(
        store.usage().bytes,
        1_000 * (WindowLog::OVERHEAD_BYTES + 4 * 8)
    );
}

#[test]
fn a_million_clients_stay_within_the_bound_and_the_newest_are_exact() {
    let bound = 16 << 20;
    let store = MemoryStore::new(bound);
    let policy = policy("2/minute");
    for number in 0..1_000_000_u32 {
        store.decide(&policy, client(number), LogTime::from_micros(number.into()));
    }
    assert!(
        store.usage().bytes <= bound,
        "{} bytes",
        store.usage().bytes
    );
    assert!(store.usage().evictions > 0);
    let newest = client(999_999);
    let at = LogTime::from_micros(1_000_001);
    assert!(store.decide(&policy, newest, at).admitted);
    assert!(!store.decide(&policy, newest, at).admitted);
}

#[test]
fn a_busy_client_is_not_forgotten_for_newcomers() {
    let store = MemoryStore::new(1 << 20);
    let policy = policy("2/minute");
    let busy = client(u32::MAX);
    let mut admitted = 0;
    for number in 0..100_000_u32 {
        let at = LogTime::from_micros(number.into());
        store.decide(&policy, client(number), at);
        if number % 100 == 0 {
            admitted += u32::from(store.decide(&policy, busy, at).admitted);
        }
    }
    assert!(store.usage().evictions > 0);
    assert_eq!(admitted, 2);
}

#[test]
fn at_the_bound_the_client_that_was_silent_longest_goes_with_any_window() {
    let store = MemoryStore::new(SHARDS * 64 * 1024);
    let (long, short) = (policy("1/hour"), policy("1/minute"));
    let at = LogTime::from_micros;
    for number in 0..1_000 {
        store.decide(&long, client(number), at(number.into()));
    }
    for number in 1_000..2_000 {
        store.decide(&short, client(number), at(number.into()));
    }
    for number in 0..1_000 {
        store.decide(&long, client(number), at(2_000 + i64::from(number)));
    }
    assert_eq!(store.usage().evictions, 0, "there is room for so many");
    // Clients whose last request came before the moment 2,000 go first. None of these has the longer window.
    let mut newcomers = 2_000;
    while store.usage().evictions < 200 {
        newcomers += 1;
        store.decide(&short, client(newcomers), at(10_000));
    }
    let refused = |number: &u32| !store.decide(&long, client(*number), at(10_001)).admitted;
    assert_eq!((0..1_000).filter(refused).count(), 1_000);
}

#[test]
fn policies_count_apart() {
    let store = MemoryStore::new(1 << 20);
    let default = policy("1/minute");
    let other = Policy {
        name: "other".parse().expect("a name"),
        quota: default.quota,
    };
    let at = LogTime::from_micros(1);
    assert!(store.decide(&default, client(1), at).admitted);
    assert!(store.decide(&other, client(1), at).admitted);
    assert!(!store.decide(&other, client(1), at).admitted);
}

/// The program's allocator, because what it makes of small allocations is a part of the memory that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOUND: usize = 16 << 20;

/// Ways to fill a store or a journal: which one, a quota, and requests per client.
const FILLINGS: [(&str, &str, usize); 6] = [
    // What a client costs beside its entries counts most.
    ("store", "10/minute", 1),
    ("journal", "10/minute", 1),
    // Both count.
    ("store", "10/minute", 11),
    ("journal", "10/minute", 11),
    // The entries count most.
    ("store", "200/minute", 201),
    ("journal", "200/minute", 201),
];

/// Compares the bound with what the kernel counts. To count nothing else, the test starts itself once more for each
/// filling.
#[test]
fn resident_memory_stays_within_the_bound() {
    const FILLING: &str = "SHUNT_TEST_FILLING";
    if let Ok(filling) = env::var(FILLING) {
        let filling: usize = filling.parse().expect("the number of a filling");
        println!("grown by {} bytes", fill(FILLINGS[filling]));
        return;
    }
    for (number, filling) in FILLINGS.iter().enumerate() {
        let output = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture"])
            .arg("limiter::memory::tests::resident_memory_stays_within_the_bound")
            .env(FILLING, number.to_string())
            .output()
            .expect("it runs");
        let output = String::from_utf8_lossy(&output.stdout);
        let (_, grown) = output.split_once("grown by ").expect("a measurement");
        let (grown, _) = grown.split_once(' ').expect("a number");
        let grown: usize = grown.parse().expect("a number");
        let share = grown * 100 / BOUND;
        println!("{filling:?}: {share} % of the bound");
        // Much less than the bound would be memory that the operator has granted in vain. A little more may be what the
        // allocator keeps for later.
        assert!((50..=105).contains(&share), "{filling:?}: {share} %");
    }
}

/// Fills a store or a journal until it has evicted clients for a while. Returns how many bytes the process has grown by.
fn fill((what, quota, requests): (&str, &str, usize)) -> usize {
    let policy = policy(quota);
    let limit = policy.quota.limit();
    let before = resident_bytes();
    let (store, journal) = (MemoryStore::new(BOUND), Journal::new(BOUND));
    for number in 0_u32.. {
        let at = LogTime::from_micros(number.into());
        for member in 0..requests as u32 {
            if what == "store" {
                store.decide(&policy, client(number), at);
                continue;
            }
            let entry = LogEntry {
                at,
                member: member as i32,
            };
            let pending = journal.arrive(&policy, client(number), entry);
            let mut pending = pending.continue_value().expect("Redis has to decide");
            let decision = Decision {
                admitted: member < limit,
                remaining: limit.saturating_sub(member + 1),
                reset_after: policy.quota.window(),
            };
            assert!(pending.answered(pending.entry(), decision));
        }
        if number % 1_000 == 0 {
            let grown = resident_bytes() - before;
            let usage = if what == "store" {
                store.usage()
            } else {
                journal.usage()
            };
            let is_full = usage.evictions as usize > usage.clients / 4;
            if is_full || grown > 2 * BOUND {
                return grown;
            }
        }
    }
    unreachable!("the bound comes before the last number")
}

/// Memory that the process has for itself, without the pages of its program.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("what the kernel says");
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = resident.and_then(|text| text.trim().strip_suffix(" kB"));
    1024 * kib.expect("kilobytes").parse::<usize>().expect("a number")
}

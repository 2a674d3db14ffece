//! `[limiter]`: how many requests a client may make.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::value::{bounded_duration, bounded_number, list, networks, print_list, text};
use crate::{
    limiter::{OnRedisFailure, PolicyName, Quota},
    public::Route,
};

/// How many requests a client may make.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LimiterConfig {
    /// Whether there is a limit at all. Default `true`.
    pub enabled: bool,
    /// The quota of the policy `default`, which holds for every public route together: `10/minute`,
    /// `10 per minute`, `5/10s`, `100/hour`. Default `10/minute`.
    #[serde(with = "text")]
    pub quota: Quota,
    /// Further policies, by name. A request that any of them covers is under all that cover it, and not under
    /// `default`. None by default.
    #[serde(
        deserialize_with = "policies",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub policies: BTreeMap<String, PolicyConfig>,
    /// Networks whose clients are never limited. None by default.
    #[serde(deserialize_with = "networks", serialize_with = "print_list")]
    pub exempt: Vec<IpNet>,
    /// IPv6 clients are counted per network of this prefix length, 1 to 128. Default 64.
    #[serde(deserialize_with = "ipv6_prefix")]
    pub ipv6_prefix: u8,
    /// While Redis is away: `local` (the same quotas, counted by each node for itself), `allow` or `deny` (503).
    /// Default `local`.
    #[serde(with = "text")]
    pub on_redis_failure: OnRedisFailure,
    /// Whether a node refuses a client that floods it without asking Redis each time. Decisions are the same.
    /// Default `true`.
    pub shield: bool,
    /// How soon other nodes learn of what the shield has refused, and half of what `Retry-After` may then be late by;
    /// 10 ms to 10 seconds. Default `250ms`.
    #[serde(with = "write_back")]
    pub write_back: Duration,
    /// The most memory for counting in process, in MiB, 1 to 65536. Default 256.
    #[serde(deserialize_with = "local_memory_mib")]
    pub local_memory_mib: usize,
    /// How Redis is asked.
    pub redis: LimiterRedisConfig,
}

bounded_number!(ipv6_prefix, u8, 1, 128);
bounded_number!(local_memory_mib, usize, 1, 65536);
bounded_duration!(
    write_back,
    Duration::from_millis(10),
    Duration::from_secs(10),
    "10ms to 10s"
);

impl Default for LimiterConfig {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a constant, covered by a test")]
        let quota = "10/minute".parse().expect("the default quota parses");
        Self {
            enabled: true,
            quota,
            policies: BTreeMap::new(),
            exempt: Vec::new(),
            ipv6_prefix: 64,
            on_redis_failure: OnRedisFailure::Local,
            shield: true,
            write_back: Duration::from_millis(250),
            local_memory_mib: 256,
            redis: LimiterRedisConfig::default(),
        }
    }
}

/// How Redis is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LimiterRedisConfig {
    /// How long a request waits for Redis, once: then none does until it is back; 1 ms to 10 seconds.
    /// Default `100ms`.
    #[serde(with = "timeout")]
    pub timeout: Duration,
}

bounded_duration!(
    timeout,
    Duration::from_millis(1),
    Duration::from_secs(10),
    "1ms to 10s"
);

impl Default for LimiterRedisConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(100),
        }
    }
}

/// `[limiter.policies.<name>]`: a quota of its own for some requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyConfig {
    /// The quota; required.
    #[serde(with = "text")]
    pub quota: Quota,
    /// The routes that it covers, of `home`, `shorten`, `follow` and `other`. Default: all.
    #[serde(default, deserialize_with = "list", serialize_with = "print_list")]
    pub routes: Vec<Route>,
    /// The networks whose clients it covers. Default: all.
    #[serde(default, deserialize_with = "networks", serialize_with = "print_list")]
    pub clients: Vec<IpNet>,
}

fn policies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, PolicyConfig>, D::Error> {
    let policies = BTreeMap::<String, PolicyConfig>::deserialize(deserializer)?;
    for name in policies.keys() {
        if name == PolicyName::default_policy().as_str() {
            return Err(de::Error::custom("the policy `default` is limiter.quota"));
        }
        name.parse::<PolicyName>().map_err(de::Error::custom)?;
    }
    Ok(policies)
}

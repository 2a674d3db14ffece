//! `[limiter]`: how many requests a client may make.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::value::{
    SECOND, choice, duration, flag, list, networks, number, optional_count, print_duration,
    print_list, text,
};
use crate::{
    limiter::{OnRedisFailure, PolicyName, Quota},
    public::Route,
};

/// How many requests a client may make.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LimiterConfig {
    /// Whether there is a limit at all. Default `true`.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
    /// The quota of the policy `default`, for all public routes together: `10/minute`, `10 per minute`, `5/10s`,
    /// `100/hour`. Default `10/minute`.
    #[serde(with = "text")]
    pub quota: Quota,
    /// The quota of the policy `per-key`: how many requests an API key without a quota of its own may make. Default
    /// `600/minute`.
    #[serde(with = "text")]
    pub per_key: Quota,
    /// The quota of the policy `link-password`: how often a client may try the password of one link. Default
    /// `10/minute`.
    #[serde(with = "text")]
    pub link_password: Quota,
    /// Further policies, by name. If any policy covers a request, the request is under all policies that cover it, and
    /// not under `default`. None by default.
    #[serde(
        deserialize_with = "policies",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub policies: BTreeMap<String, PolicyConfig>,
    /// Networks whose clients are never limited. None by default.
    #[serde(deserialize_with = "networks", serialize_with = "print_list")]
    pub exempt: Vec<IpNet>,
    /// IPv6 clients are counted per network of this prefix length, 1 to 128. Default 64.
    #[serde(deserialize_with = "number::<1, 128, _, _>")]
    pub ipv6_prefix: u8,
    /// What the limiter does while Redis is away: `split` (the nodes divide what is left of each quota), `local` (the
    /// whole quota, on each node), `allow` (no limit) or `deny` (503). Default `split`.
    #[serde(deserialize_with = "choice")]
    pub on_redis_failure: OnRedisFailure,
    /// By how many nodes `split` divides, 1 to 1000. Unset by default: as many as were there when Redis went away.
    #[serde(
        deserialize_with = "optional_count::<1000, _>",
        skip_serializing_if = "Option::is_none"
    )]
    pub nodes: Option<NonZeroU32>,
    /// Whether a node refuses a flooding client by itself, without asking Redis each time. The decisions are the same.
    /// Default `true`.
    #[serde(deserialize_with = "flag")]
    pub shield: bool,
    /// How often a node tells Redis of what the shield has refused; 10 ms to 10 seconds. `Retry-After` may then be late
    /// by twice this time. Default `250ms`.
    #[serde(
        deserialize_with = "duration::<10, { 10 * SECOND }, _>",
        serialize_with = "print_duration"
    )]
    pub write_back: Duration,
    /// The most memory for counting in this process, in MiB, 1 to 65536. Default 256.
    #[serde(deserialize_with = "number::<1, 65_536, _, _>")]
    pub local_memory_mib: usize,
    /// How a node asks Redis.
    pub redis: LimiterRedisConfig,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "constants, covered by a test")]
        let quota = |text: &str| text.parse().expect("the default quotas parse");
        Self {
            enabled: true,
            quota: quota("10/minute"),
            per_key: quota("600/minute"),
            link_password: quota("10/minute"),
            policies: BTreeMap::new(),
            exempt: Vec::new(),
            ipv6_prefix: 64,
            on_redis_failure: OnRedisFailure::Split,
            nodes: None,
            shield: true,
            write_back: Duration::from_millis(250),
            local_memory_mib: 256,
            redis: LimiterRedisConfig::default(),
        }
    }
}

/// How a node asks Redis.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LimiterRedisConfig {
    /// How long a request waits for Redis; 1 ms to 10 seconds. After the first timeout, no request waits until Redis is
    /// back. Default `100ms`.
    #[serde(
        deserialize_with = "duration::<1, { 10 * SECOND }, _>",
        serialize_with = "print_duration"
    )]
    pub timeout: Duration,
}

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
    /// The routes that the policy covers, of `home`, `shorten`, `follow` and `other`. Default: all.
    #[serde(default, deserialize_with = "list", serialize_with = "print_list")]
    pub routes: Vec<Route>,
    /// The networks whose clients the policy covers. Default: all.
    #[serde(default, deserialize_with = "networks", serialize_with = "print_list")]
    pub clients: Vec<IpNet>,
}

fn policies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, PolicyConfig>, D::Error> {
    let policies = BTreeMap::<String, PolicyConfig>::deserialize(deserializer)?;
    for name in policies.keys() {
        let name = name.parse::<PolicyName>().map_err(de::Error::custom)?;
        if name.is_built_in() {
            let quota = if name == PolicyName::per_key() {
                "limiter.per_key"
            } else if name == PolicyName::link_password() {
                "limiter.link_password"
            } else {
                "limiter.quota"
            };
            let taken = format!("there is a policy `{name}` already; its quota is {quota}");
            return Err(de::Error::custom(taken));
        }
    }
    Ok(policies)
}

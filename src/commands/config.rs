//! `shunt config`: prints the effective configuration.

use shunt::config::Config;

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    print!("{}", config.to_toml()?);
    Ok(())
}

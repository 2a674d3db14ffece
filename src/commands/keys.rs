//! `shunt keys`: makes, lists, revokes and rotates API keys, in the database that the nodes use.

mod list;

use std::io::Write;

use anyhow::{Context, anyhow};
use shunt::{
    app,
    config::Config,
    keys::{
        ApiKey, ChangeKeyError, CreateKeyError, KeyName, KeyRecord, Keys, Life, ListKeys, NewKey,
        Scopes, Unavailable,
    },
    limiter::Quota,
    owner::Owner,
};

#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key and print it: it is shown only this once
    Create(Create),
    /// Print which keys there are; never prints a key itself
    List(List),
    /// Revoke a key, for good
    Revoke(Name),
    /// Give a key another secret and print it; the old one is dead at once
    Rotate(Name),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Create {
    /// What to call it: 1 to 64 letters, digits, `.`, `_` and `-`
    #[arg(long, value_parser = KeyName::parse_new)]
    name: KeyName,

    /// What it allows: one or more of create, manage, stats and admin
    #[arg(long, value_name = "create,manage,stats,admin")]
    scope: Scopes,

    /// Whom it acts for
    #[arg(long, default_value_t)]
    owner: Owner,

    /// How long it works, such as 90d; forever if not given
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Life>,

    /// How many requests it may make, such as 600/minute; if not given, as many as every key
    #[arg(long)]
    quota: Option<Quota>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct List {
    /// Only the keys of this owner
    #[arg(long)]
    owner: Option<Owner>,

    /// Also keys that have expired or are revoked
    #[arg(long)]
    all: bool,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Name {
    /// What the key is called
    name: KeyName,
}

/// Prints the answer to standard output, and all else to standard error.
pub(super) async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let keys = app::open_keys(&config.database).await?;
    let done = run_on(&keys, command).await;
    keys.close().await;
    done
}

async fn run_on(keys: &Keys, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(new) => create(keys, new).await,
        Command::List(which) => list(keys, which).await,
        Command::Revoke(Name { name }) => {
            let revoked = keys.revoke(&name.clone().into()).await;
            revoked.map_err(|error| not_changed(keys, &name, error))?;
            eprintln!("revoked {name}; nodes reject it within 2 seconds");
            Ok(())
        }
        Command::Rotate(Name { name }) => {
            let rotated = keys.rotate(&name.clone().into()).await;
            let (key, record) = rotated.map_err(|error| not_changed(keys, &name, error))?;
            print(&key, &record)?;
            eprintln!("nodes reject the old key within 2 seconds");
            Ok(())
        }
    }
}

async fn create(keys: &Keys, new: Create) -> anyhow::Result<()> {
    let new = NewKey {
        name: new.name,
        owner: new.owner,
        scopes: new.scope,
        quota: new.quota,
        life: new.expires_in,
    };
    let (key, record) = keys.create(&new).await.map_err(|error| match error {
        CreateKeyError::NameTaken => anyhow!(
            "a key named {} exists (`shunt keys list --all` shows it): revoke it, rotate it, or choose another name",
            new.name
        ),
        CreateKeyError::Unavailable(error) => unavailable(keys, error),
    })?;
    print(&key, &record)
}

async fn list(keys: &Keys, List { owner, all, json }: List) -> anyhow::Result<()> {
    let which = ListKeys {
        owner,
        all,
        ..ListKeys::default()
    };
    let found = keys.list(&which).await;
    let found = found.map_err(|error| unavailable(keys, error))?;
    if json {
        return to_standard_output(&list::json(&found)?);
    }
    if found.is_empty() {
        eprintln!("there is no such key");
    }
    to_standard_output(&list::table(&found))
}

/// Prints the key, alone, to standard output.
fn print(key: &ApiKey, record: &KeyRecord) -> anyhow::Result<()> {
    let name = &record.name;
    to_standard_output(&format!("{}\n", key.secret()))
        .with_context(|| format!("{name} is stored, but the key is lost: rotate it"))?;
    let expiry = match record.expires_at {
        Some(at) => format!("expires at {}", humantime::format_rfc3339_seconds(at)),
        None => "never expires".to_owned(),
    };
    eprintln!(
        "{name} acts for {} with {}, and {expiry}",
        record.owner, record.scopes
    );
    eprintln!("this is the only time that the key is shown: only its hash is stored");
    Ok(())
}

fn to_standard_output(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    let written = written.and_then(|()| output.flush());
    written.context("cannot write to standard output")
}

fn not_changed(keys: &Keys, name: &KeyName, error: ChangeKeyError) -> anyhow::Error {
    match error {
        // The command names no number.
        ChangeKeyError::Unknown | ChangeKeyError::OtherKey => {
            anyhow!("there is no key named {name}, or it is revoked (`shunt keys list --all`)")
        }
        ChangeKeyError::Unavailable(error) => unavailable(keys, error),
    }
}

/// Says why: there is no log that does.
fn unavailable(keys: &Keys, error: Unavailable) -> anyhow::Error {
    let troubles = keys.known_troubles();
    let reasons = [troubles.reads, troubles.writes].concat();
    match reasons.first() {
        Some(reason) => anyhow!("{error}: {reason}"),
        None => error.into(),
    }
}

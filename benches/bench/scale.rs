//! `make bench-scale`: how cost grows with links, clients, nodes and limits.
//!
//! Each topic is measured at one size after another, each ten times the size before (`nodes`: one node more). The
//! results are CSV files and a picture.

mod clients;
mod limits;
mod links;
mod logs;
mod nodes;
mod plot;
mod series;
mod sizes;

use clap::ValueEnum;

use crate::{folder::Folder, machine::Machine, runner::Runner, settings::Settings};

use self::{series::Series, sizes::Sizes};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topic {
    /// Links in the database: look-ups without the cache, and new links
    Links,
    /// Active clients, in Redis and in process
    Clients,
    /// Nodes with the same Redis and Postgres
    Nodes,
    /// The limit, and with it the length of every window log
    Limits,
}

impl Topic {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    async fn measure(self, runner: &mut Runner<'_>, sizes: &Sizes) -> anyhow::Result<Vec<Series>> {
        match self {
            Self::Links => links::measure(runner, sizes.links).await,
            Self::Clients => clients::measure(runner, sizes.clients).await,
            Self::Nodes => nodes::measure(runner, sizes.nodes).await,
            Self::Limits => limits::measure(runner, sizes.limit).await,
        }
    }
}

/// Measures these topics, or all if there are none, and writes the results of each at once.
///
/// # Errors
/// If a server did anything but what is to be measured, or gnuplot is missing.
pub(crate) async fn run(only: &[Topic]) -> anyhow::Result<()> {
    let topics = if only.is_empty() {
        Topic::value_variants()
    } else {
        only
    };
    plot::check()?;
    let sizes = Sizes::from_environment()?;
    let names: Vec<_> = topics.iter().map(|topic| topic.name()).collect();
    let settings = Settings::for_scale(&sizes.to_string(), &names.join(","))?;
    let machine = Machine::describe(settings.workers)?;
    let folder = Folder::create("scale-", &machine)?;
    folder.write_machine(&machine, &settings)?;
    let mut runner = Runner::new(&settings);
    let mut text = String::new();
    for topic in topics {
        for series in topic.measure(&mut runner, &sizes).await? {
            folder.write(&format!("{}.csv", series.name()), &series.csv())?;
            text += &format!("## {}\n\n{}\n", series.title(), series.table());
        }
        let name = topic.name();
        plot::draw(&name, folder.path()).await?;
        text += &format!("![{name}]({name}.svg)\n\n");
        folder.write_raw(runner.raw())?;
        folder.write_page(&machine, &settings, &text)?;
    }
    println!("{text}in {}", folder.path().display());
    Ok(())
}

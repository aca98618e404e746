//! Writes and reads a second, beside etcd's.

use crate::{
    clusters::To,
    connection::{Connection, Operation},
    controllers::Controllers,
    etcd::Etcd,
    fsync,
    load::{self, Load, Measured},
    report::{Report, Spread},
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// How to measure rates.
#[derive(Args, Debug)]
pub struct RateArgs {
    /// Rounds, each of all cases with Wharf and etcd in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Seconds of a case that count
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Seconds of a case before anything counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3600))]
    warm_up: u64,

    /// Connections that 256 clients share
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=256))]
    connections: u16,

    /// Leave etcd out
    #[arg(long)]
    alone: bool,

    /// Only the cases with so many clients
    #[arg(long)]
    clients: Option<usize>,

    /// Only the cases that call all controllers, or only the leader
    #[arg(long, value_enum)]
    only: Option<Only>,
}

/// Which cases.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Only {
    Leader,
    All,
}

/// A case: clients, their connections, and where those lead.
#[derive(Clone, Copy, Debug)]
struct Case {
    clients: usize,
    connections: usize,
    to: To,
}

const MOST_CLIENTS: usize = 256;
const WHARF: &str = "wharf";
const ETCD: &str = "etcd";
const PLAIN: &str = "etcd without TLS";

/// Writes a second.
pub async fn writes(args: &RateArgs, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    rates(args, Operation::Write, dir, report).await
}

/// Linearizable reads a second.
pub async fn reads(args: &RateArgs, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    rates(args, Operation::Read, dir, report).await
}

async fn rates(args: &RateArgs, operation: Operation, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    fsync::measure(dir, report)?;
    let many = usize::from(args.connections);
    let cases: Vec<Case> = [
        Case { clients: 1, connections: 1, to: To::Leader },
        Case { clients: MOST_CLIENTS, connections: many, to: To::Leader },
        Case { clients: MOST_CLIENTS, connections: many, to: To::All },
    ]
    .into_iter()
    .filter(|case| args.clients.is_none_or(|clients| clients == case.clients))
    .filter(|case| match args.only {
        None => true,
        Some(Only::Leader) => case.to == To::Leader,
        Some(Only::All) => case.to == To::All,
    })
    .collect();
    let wharf = Controllers::start(dir).await?;
    wharf.add_nodes(MOST_CLIENTS).await?;
    let etcd = if args.alone { None } else { Some(Etcd::start(dir, true).await?) };
    let mut results = Results { args, operation, all: BTreeMap::new() };
    for round in 0..args.rounds {
        for (number, case) in cases.iter().enumerate() {
            let connections = wharf.connections(case.to, case.connections).await?;
            results.measure(round, number, *case, WHARF, &connections, &wharf.pids()).await?;
            if let Some(etcd) = &etcd {
                let connections = etcd.connections(case.to, case.connections).await?;
                results.measure(round, number, *case, ETCD, &connections, &etcd.pids()).await?;
            }
        }
    }
    if etcd.is_some() {
        drop(etcd);
        let plain = Etcd::start(dir, false).await?;
        for (number, case) in cases.iter().enumerate() {
            let connections = plain.connections(case.to, case.connections).await?;
            results.measure(0, number, *case, PLAIN, &connections, &plain.pids()).await?;
        }
    }
    results.tell(&cases, report);
    Ok(())
}

struct Results<'a> {
    args: &'a RateArgs,
    operation: Operation,
    /// By case, then by system.
    all: BTreeMap<(usize, &'static str), Vec<Measured>>,
}

impl Results<'_> {
    async fn measure(
        &mut self,
        round: u32,
        number: usize,
        case: Case,
        system: &'static str,
        connections: &[Connection],
        pids: &[u32],
    ) -> anyhow::Result<()> {
        if round == 0 && self.operation == Operation::Read {
            // There must be something to read.
            for client in 0..case.clients {
                let mut connection = connections[client % connections.len()].clone();
                connection.call(Operation::Write, client, 0).await?;
            }
        }
        let load = Load {
            operation: self.operation,
            clients: case.clients,
            warm_up: Duration::from_secs(self.args.warm_up),
            time: Duration::from_secs(self.args.seconds),
        };
        let measured = load::run(connections, load, pids).await?;
        println!(
            "round {}, {}, {system}: {:.0}/s, p50 {} us, p99 {} us, max {} us; processor time for each: {:.0} us of \
             servers, {:.0} us of clients; {:.2} processors busy",
            round + 1,
            case.in_words(),
            measured.rate,
            measured.p50_us,
            measured.p99_us,
            measured.max_us,
            measured.server_cpu_us,
            measured.client_cpu_us,
            measured.busy_cpus
        );
        self.all.entry((number, system)).or_default().push(measured);
        Ok(())
    }

    /// Medians, and how they compare.
    fn tell(&self, cases: &[Case], report: &mut Report) {
        let what = match self.operation {
            Operation::Write => "committed writes",
            Operation::Read => "linearizable reads",
        };
        println!("\n{what}, medians of {} rounds:", self.args.rounds);
        for (number, case) in cases.iter().enumerate() {
            let mut rates = BTreeMap::new();
            for system in [WHARF, ETCD, PLAIN] {
                let Some(rounds) = self.all.get(&(number, system)) else { continue };
                let rate = Spread::of(rounds.iter().map(|one| one.rate));
                let middle = |pick: fn(&Measured) -> u64| {
                    let mut picked: Vec<u64> = rounds.iter().map(pick).collect();
                    picked.sort_unstable();
                    picked[(picked.len() - 1) / 2]
                };
                let (p50, p99) = (middle(|one| one.p50_us), middle(|one| one.p99_us));
                println!(
                    "  {}, {system}: {:.0}/s ({:.0} to {:.0}), p50 {p50} us, p99 {p99} us",
                    case.in_words(),
                    rate.median,
                    rate.min,
                    rate.max
                );
                let key = format!("{what}, {}, {system}", case.in_words());
                report.add(&key, &json!({ "rate": rate, "p50_us": p50, "p99_us": p99, "rounds": rounds }));
                rates.insert(system, rate.median);
            }
            if let (Some(ours), Some(theirs)) = (rates.get(WHARF), rates.get(ETCD)) {
                println!("  {}: {:.2} times etcd's rate", case.in_words(), ours / theirs);
                report.add(&format!("{what}, {}, ratio to etcd", case.in_words()), &(ours / theirs));
            }
        }
    }
}

impl Case {
    fn in_words(self) -> String {
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        format!(
            "{} client{} on {} connection{} to {}",
            self.clients,
            plural(self.clients),
            self.connections,
            plural(self.connections),
            self.to.as_str()
        )
    }
}

//! The command line.

use crate::{
    data_dir::LOG,
    identity_api::is_address,
    settings::{Settings, Start, Timings},
};
use anyhow::{Context, bail};
use clap::{Args, Parser};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use wharf_cluster::level::Level;
use wharf_identity::JoinToken;

/// Runs a controller of a Wharf cluster.
///
/// Controllers agree through Raft on what should run where; agents run it. One to five of them make a cluster's control
/// plane; with three, any one may fail.
///
/// The first one makes the cluster:
///
///   wharf-controller --bootstrap --advertise 10.0.0.1:7400
///
/// It writes the first admin's context to admin.json in its data directory; `wharf context add FILE` takes it. The
/// others join, with the token that `wharf token show --role controller` prints on the first:
///
///   wharf-controller --join 10.0.0.1:7400 --token wharf-controller-... --advertise 10.0.0.2:7400
///
/// When most controllers are lost for good, one that is left goes on alone with --recover. When all are lost, a new one
/// begins from a backup (`wharf backup FILE` takes it):
///
///   wharf-controller --restore FILE --advertise 10.0.0.1:7400
///
/// Once it has data, a controller starts from them: --bootstrap and --join mean nothing any more, and may stay.
///
/// Exit codes: 74 when the disk is full or fails, 65 when the log is damaged, 2 for a wrong command line, 1 for the
/// rest. It says why, and what to do.
#[derive(Parser, Debug)]
#[command(name = "wharf-controller", version, max_term_width = 110, verbatim_doc_comment)]
pub struct Cli {
    #[command(flatten)]
    start: StartArgs,

    /// Address and port to listen on, for clients, agents and other controllers alike
    #[arg(long, env = "WHARF_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7400")]
    listen: SocketAddr,

    /// Where others reach this controller; the host name and the port it listens on, unless given
    #[arg(long, env = "WHARF_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// What to call this controller; its host name, unless given
    #[arg(long, env = "WHARF_NAME")]
    name: Option<String>,

    /// Folder for the log and the identity; made for the owner only
    #[arg(long, env = "WHARF_DATA_DIR", value_name = "DIR", default_value = "/var/lib/wharf/controller")]
    data_dir: PathBuf,

    /// Behave as a version that knows no more than this level, so that going back to one stays possible
    #[arg(long, env = "WHARF_MAX_LEVEL", value_name = "LEVEL", default_value_t = Level::NEWEST.0,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(Level::NEWEST.0)))]
    max_level: u8,

    #[command(flatten)]
    times: TimeArgs,

    /// What to log: error, warn, info, debug, trace, or a filter such as info,wharf_controller=debug
    #[arg(long, env = "WHARF_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

#[derive(Args, Debug)]
struct StartArgs {
    /// Make a new cluster, with this as its first controller
    #[arg(long, group = "founding", conflicts_with_all = ["join", "token", "token_file", "recover"])]
    bootstrap: bool,

    /// Make a cluster from a backup, with this as its only controller, in an empty data directory
    ///
    /// The cluster keeps its id, authority and tokens: agents come back by themselves to an address that they know, and
    /// with `wharf-agent --join NEW` to another. Controllers of before are refused; join new ones.
    #[arg(long, value_name = "FILE", group = "founding",
          conflicts_with_all = ["join", "token", "token_file", "recover"])]
    restore: Option<PathBuf>,

    /// With --bootstrap or --restore: where to write an admin's context [default: admin.json in the data directory]
    #[arg(long, value_name = "FILE")]
    admin_context: Option<PathBuf>,

    /// With --bootstrap or --restore: also make it this user's default context, which `wharf` finds by itself
    #[arg(long)]
    default_context: bool,

    /// Make this the only controller, because all others, or most, are lost for good; then end
    ///
    /// Run it on the data directory of a stopped controller that is left. It says what will be lost and asks first. What
    /// this controller's log holds is kept, its identity too; the others are given up and refused from then on. Start
    /// the controller as usual afterwards.
    #[arg(long, conflicts_with_all = ["join", "token", "token_file"])]
    recover: bool,

    /// With --recover: don't ask
    #[arg(long, requires = "recover")]
    yes: bool,

    /// Join the cluster that these controllers belong to
    #[arg(
        long,
        env = "WHARF_JOIN",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        conflicts_with = "founding"
    )]
    join: Vec<String>,

    /// With --join: the token that `wharf token show --role controller` prints
    #[arg(
        long,
        env = "WHARF_TOKEN",
        hide_env_values = true,
        requires = "join",
        conflicts_with = "token_file"
    )]
    token: Option<String>,

    /// With --join: a file that holds the token, so that no list of processes shows it
    #[arg(long, value_name = "FILE", requires = "join")]
    token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct TimeArgs {
    /// How often agents say that they are there
    #[arg(long, env = "WHARF_HEARTBEAT", value_name = "TIME", default_value = "1s", value_parser = time)]
    heartbeat: Duration,

    /// How many heartbeats in a row must be missed before a node counts as down
    #[arg(long, env = "WHARF_MISSED_HEARTBEATS", value_name = "NUMBER", default_value = "5",
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    missed_heartbeats: u32,

    /// When more than a third of the nodes vanish at once, none is given up and no work is moved until they come back,
    /// `wharf node down` says which are lost, or nothing has changed for this long
    #[arg(long, env = "WHARF_MASS_LOSS_HOLD", value_name = "TIME", default_value = "2m", value_parser = time)]
    mass_loss_hold: Duration,

    /// How long the certificates hold that this controller signs
    #[arg(long, env = "WHARF_CERTIFICATE_LIFETIME", value_name = "TIME", default_value = "90d", value_parser = time)]
    certificate_lifetime: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: write 500ms, 1s or 90d"))?;
    if time < Duration::from_millis(10) { Err("is less than 10ms".to_owned()) } else { Ok(time) }
}

impl Cli {
    /// The data directory to recover, and whether that is confirmed, if that is what is asked for.
    #[must_use]
    pub fn recovery(&self) -> Option<(PathBuf, bool)> {
        self.start.recover.then(|| (self.data_dir.clone(), self.start.yes))
    }

    /// The settings that the command line and the environment make.
    ///
    /// # Errors
    /// When they contradict themselves, or a file that they name can't be read.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let host = host_name();
        let advertise = match self.advertise {
            Some(advertise) => advertise,
            None if self.listen.ip().is_unspecified() => format!("{host}:{}", self.listen.port()),
            None => self.listen.to_string(),
        };
        if !is_address(&advertise) || !advertise.is_ascii() {
            bail!("--advertise {advertise}: write HOST:PORT");
        }
        let start = self.start.start(&self.data_dir)?;
        Ok(Settings {
            name: self.name.unwrap_or(host),
            listen: self.listen,
            advertise,
            data_dir: self.data_dir,
            start,
            timings: Timings {
                heartbeat: self.times.heartbeat,
                missed: self.times.missed_heartbeats,
                mass_loss_hold: self.times.mass_loss_hold,
                certificate_lifetime: self.times.certificate_lifetime,
            },
            max_level: Level(self.max_level),
        })
    }
}

impl StartArgs {
    fn start(self, data_dir: &Path) -> anyhow::Result<Start> {
        if self.bootstrap || self.restore.is_some() {
            let mut contexts = vec![self.admin_context.unwrap_or_else(|| data_dir.join("admin.json"))];
            if self.default_context {
                contexts.push(default_context()?);
            }
            return Ok(match self.restore {
                Some(file) => Start::Restore { file, contexts },
                None => Start::Bootstrap { contexts },
            });
        }
        if self.join.is_empty() {
            if self.admin_context.is_some() || self.default_context {
                bail!("--admin-context and --default-context need --bootstrap or --restore");
            }
            return Ok(Start::Existing);
        }
        if let Some(bad) = self.join.iter().find(|address| !is_address(address)) {
            bail!("--join {bad}: write HOST:PORT");
        }
        let token = match (self.token, self.token_file) {
            (Some(token), _) => token,
            (None, Some(path)) => std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the token from {}", path.display()))?,
            // A controller that has data needs none.
            (None, None) if data_dir.join(LOG).exists() => return Ok(Start::Existing),
            (None, None) => {
                bail!("--join needs --token or --token-file: `wharf token show --role controller` prints it")
            }
        };
        let token: JoinToken = token.trim().parse()?;
        Ok(Start::Join { addresses: self.join, token })
    }
}

/// Where `wharf` looks for its default context.
fn default_context() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let folder = config.or_else(home).context("--default-context needs HOME or XDG_CONFIG_HOME")?;
    Ok(folder.join("wharf/contexts/default.json"))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn settings(args: &[&str]) -> anyhow::Result<Settings> {
        Cli::try_parse_from([&["wharf-controller"], args].concat())?.settings()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            &["--bootstrap", "--join", "a:1", "--token", "x"][..],
            &["--join", "a:1", "--data-dir", "/nonexistent"],
            &["--join", "nonsense", "--token", "x"],
            &["--join", "a:1", "--token", "nonsense"],
            &["--token", "x"],
            &["--admin-context", "x"],
            &["--bootstrap", "--advertise", "host"],
            &["--bootstrap", "--heartbeat", "soon"],
            &["--bootstrap", "--missed-heartbeats", "1"],
            &["--bootstrap", "--restore", "f"],
            &["--restore", "f", "--join", "a:1", "--token", "x"],
            &["--recover", "--bootstrap"],
            &["--recover", "--restore", "f"],
            &["--yes"],
            &["--admin-context", "f"],
            &["--bootstrap", "--max-level", "0"],
            &["--bootstrap", "--max-level", "200"],
        ] {
            assert!(settings(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_unit_may_name_a_context_for_every_controller() {
        let args = ["wharf-controller", "--join", "a:1", "--token", "x", "--admin-context", "f"];
        Cli::try_parse_from(args).unwrap();
    }

    #[test]
    fn what_is_not_given_follows_from_what_is() {
        let settings = settings(&["--bootstrap", "--listen", "127.0.0.1:7411", "--data-dir", "/d"]).unwrap();
        assert_eq!(settings.advertise, "127.0.0.1:7411");
        let Start::Bootstrap { contexts } = settings.start else { panic!("not a bootstrap") };
        assert_eq!(contexts, [PathBuf::from("/d/admin.json")]);
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Stores container images and hands them out (OCI distribution).
#[derive(Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// What to log, as in RUST_LOG: `debug` logs every request.
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "WHARF_LOG")]
    pub(crate) log: String,
}

const EXAMPLES: &str = "\
Examples:
  Try it on this machine, over plain HTTP:
    wharf-registry --listen 127.0.0.1:5000 --data-dir /tmp/registry
    skopeo copy --dest-tls-verify=false docker://busybox docker://127.0.0.1:5000/busybox

  As part of a cluster, whose agents then trust it (the token is what
  `wharf token show --role registry` prints):
    WHARF_TOKEN=... wharf-registry --join 10.0.0.1:7400 --advertise reg.example.org,10.0.0.9

  With a certificate of your own:
    wharf-registry --tls-cert /etc/ssl/reg.pem --tls-key /etc/ssl/reg.key

  Free the space of deleted images (stop the registry first):
    wharf-registry gc --data-dir /var/lib/wharf/registry";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Delete content that no image refers to any more; the registry has to be stopped.
    Gc(GcArgs),
}

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:5000")]
    pub(crate) listen: SocketAddr,

    /// Folder for everything that is stored; one registry at a time can use it.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/wharf/registry")]
    pub(crate) data_dir: PathBuf,

    /// Controllers of the cluster to get a certificate from. Needed for the first start; the
    /// certificate, and where its controllers are, is kept in DIR/identity.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with_all = ["tls_cert", "plain_http"])]
    pub(crate) join: Vec<String>,

    /// Token that lets a registry join, from `wharf token show --role registry`. As an environment
    /// variable it does not show up in the list of processes.
    #[arg(long, value_name = "TOKEN", env = "WHARF_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Names and addresses that clients know this registry by, for the certificate from the cluster
    /// [default: this machine's host name, and the address of --listen].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) advertise: Vec<String>,

    /// Certificate chain of your own (PEM); it is read at start.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "plain_http")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serve plain HTTP although other machines can reach it: they see and can change all traffic.
    #[arg(long)]
    pub(crate) plain_http: bool,

    /// Take pushes and deletions only from clients with a certificate of the cluster (agents,
    /// controllers, the admin); anyone may still pull. Needs a registry that joined the cluster.
    #[arg(long, conflicts_with_all = ["tls_cert", "plain_http"])]
    pub(crate) require_client_cert: bool,

    /// Largest blob (image layer) taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub(crate) max_blob_bytes: u64,

    /// How long an unfinished upload may go without a new chunk before it is removed.
    #[arg(long, value_name = "TIME", default_value = "1day")]
    pub(crate) upload_ttl: humantime::Duration,
}

#[derive(clap::Args)]
pub(crate) struct GcArgs {
    /// Folder of the registry.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/wharf/registry")]
    pub(crate) data_dir: PathBuf,

    /// Keep what is younger: somebody may be in the middle of a push.
    #[arg(long, value_name = "TIME", default_value = "1hour")]
    pub(crate) grace: humantime::Duration,

    /// Only count what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).map(|_| ()).map_err(|e| e.to_string());
        assert!(parse("wharf-registry --join a:1,b:2 --token T --advertise x,y").is_ok());
        assert!(parse("wharf-registry gc --dry-run --log debug").is_ok());
        assert!(parse("wharf-registry --tls-cert a").unwrap_err().contains("--tls-key"));
        assert!(parse("wharf-registry --tls-cert a --tls-key b --plain-http").is_err());
        assert!(parse("wharf-registry --plain-http --require-client-cert").is_err());
        assert!(parse("wharf-registry --plain-http --join a:1").is_err());
    }
}

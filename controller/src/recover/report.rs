//! What `--recover` says to the person who asked for it.

use super::{Finding, describe};
use crate::clock::system_time;
use humantime::{format_duration, format_rfc3339_seconds};
use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};
use wharf_cluster::{ids::Timestamp, model::Controller};

/// Nothing is to be done.
pub(super) fn alone(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    writeln!(
        out,
        "{} is the only controller of cluster {} already: there is nothing to recover. Start it as usual.",
        describe(&finding.kept),
        finding.cluster
    )
}

/// What would be done, and what that costs.
pub(super) fn plan(out: &mut impl Write, finding: &Finding, path: &Path, now: Timestamp) -> io::Result<()> {
    let Finding { cluster, kept, last, changed, .. } = finding;
    let ago = format_duration(Duration::from_secs(now.since(*changed) / 1000));
    writeln!(out, "WARNING: this makes {} the only controller of cluster {cluster}.\n", describe(kept))?;
    writeln!(out, "It keeps everything in its log, up to entry {last}.")?;
    writeln!(
        out,
        "  The last change in it is of {} ({ago} ago).",
        format_rfc3339_seconds(system_time(*changed))
    )?;
    let unsure = finding.last.saturating_sub(finding.commit);
    if unsure > 0 {
        writeln!(
            out,
            "  The last {unsure} entries, from {} on, may never have been agreed on. They count from now on.",
            finding.commit + 1
        )?;
    }
    if !finding.voter {
        writeln!(
            out,
            "  It has only learned so far and never voted: it may be far behind. Better recover a voter."
        )?;
    }
    writeln!(out, "It loses what was acknowledged after that, where only the lost controllers have it.")?;
    writeln!(
        out,
        "  If another lost controller's disk is left, compare: the log that goes further loses less."
    )?;
    writeln!(out, "It gives up:")?;
    for other in &finding.dropped {
        writeln!(out, "  {}", describe(other))?;
    }
    writeln!(
        out,
        "  They are refused from now on. Stop them, and empty their data directories before they join again."
    )?;
    writeln!(out, "Agents, clients, tokens and certificates stay as they are; no container stops.")?;
    writeln!(out, "Only a copy of {} that is made now can undo this.\n", path.display())
}

/// It is done: what comes next.
pub(super) fn done(out: &mut impl Write, kept: &Controller) -> io::Result<()> {
    writeln!(out, "Done: {} is the only controller now. Next:", describe(kept))?;
    writeln!(
        out,
        "  1. start it as usual (systemctl start wharf-controller); agents come back by themselves"
    )?;
    writeln!(out, "  2. wharf get nodes; wharf get services: see what is there")?;
    writeln!(out, "  3. wharf token show --role controller: join two new ones, with empty data directories")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::ids::ControllerId;

    fn controller(id: u64) -> Controller {
        Controller {
            id: ControllerId(id),
            name: format!("c{id}"),
            address: format!("10.0.0.{id}:7400"),
            joined: Timestamp(0),
            votes: true,
        }
    }

    #[test]
    fn the_plan_names_what_is_lost_and_who() {
        let finding = Finding {
            cluster: "abc".to_owned(),
            kept: controller(1),
            voter: false,
            commit: 90,
            last: 94,
            changed: Timestamp(60_000),
            dropped: vec![controller(2), controller(3)],
            alone: false,
        };
        let mut out = Vec::new();
        plan(&mut out, &finding, Path::new("/d"), Timestamp(180_000)).unwrap();
        let text = String::from_utf8(out).unwrap();
        for words in
            ["1970-01-01T00:01:00Z (2m ago)", "last 4 entries, from 91", "10.0.0.3:7400", "c2", "never voted"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

//! `wharf logs`.

use crate::{
    cli::Logs,
    client::Client,
    failure::{Failure, Result},
    output::{colours, time},
};
use std::io::{Write, stderr, stdout};
use wharf_proto::v1::{LogEntry, LogsRequest};

/// Prints what tasks have said, and what they say.
///
/// # Errors
/// When there is no such service or task, or the stream breaks.
pub async fn logs(client: &Client, args: Logs) -> Result<()> {
    let point = |text: &Option<String>| text.as_deref().map_or(Ok(0), time::parse).map_err(Failure::usage);
    let request = LogsRequest {
        target: args.target.clone(),
        follow: args.follow,
        tail: args.tail,
        since: point(&args.since)?,
        until: point(&args.until)?,
    };
    let mut stream: tonic::Streaming<LogEntry> = client
        .call(|mut api| {
            let request = request.clone();
            async move { api.logs(request).await }
        })
        .await?;
    let coloured = colours();
    while let Some(entry) = stream.message().await? {
        print(&entry, args.timestamps, coloured)?;
    }
    Ok(())
}

fn print(entry: &LogEntry, timestamps: bool, coloured: bool) -> Result<()> {
    if entry.stream == "wharf" {
        writeln!(stderr(), "wharf: {}: {}", entry.task, String::from_utf8_lossy(&entry.line))?;
        return Ok(());
    }
    let mut out = stdout().lock();
    if coloured {
        // One of six colours, always the same for a task.
        let colour =
            31 + entry.task.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte)) % 6;
        write!(out, "\x1b[{colour}m{}\x1b[0m | ", entry.task)?;
    } else {
        write!(out, "{} | ", entry.task)?;
    }
    if timestamps {
        write!(out, "{} ", time::log_time(entry.at))?;
    }
    out.write_all(&entry.line)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

//! `wharf logs`.

use crate::{
    cli::Logs,
    client::{Client, may_pass},
    failure::{Failure, Result},
    names,
    output::{clean, colours, time},
};
use std::{
    collections::BTreeMap,
    io::{Write, stderr, stdout},
    time::Duration,
};
use tokio::time::sleep;
use tonic::Streaming;
use wharf_proto::v1::{LogEntry, LogsRequest};

/// Pause before logs that broke off are asked for again; it doubles up to [`LONGEST_PAUSE`] while nothing comes.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Prints what tasks have said, and what they say; goes on at another controller when one dies.
///
/// # Errors
/// When there is no such service or task, or no controller can be reached.
pub async fn logs(client: &Client, args: Logs) -> Result<()> {
    let point = |text: &Option<String>| text.as_deref().map_or(Ok(0), time::parse).map_err(Failure::usage);
    let mut request = LogsRequest {
        target: names::service_or_task(client, &args.target).await?,
        follow: args.follow,
        tail: args.tail,
        since: point(&args.since)?,
        until: point(&args.until)?,
    };
    let mut printer = Printer { timestamps: args.timestamps, coloured: colours(), printed: BTreeMap::new() };
    let mut pause = PAUSE;
    loop {
        let asked = &request;
        let ask = |mut api: crate::client::Api| async move { api.logs(asked.clone()).await };
        let mut stream: Streaming<LogEntry> = client.call(ask).await?;
        let resumes_after = printer.printed.clone();
        loop {
            match stream.message().await {
                Ok(Some(entry)) => {
                    pause = PAUSE;
                    let printed = resumes_after.get(&entry.task).copied().unwrap_or(0);
                    if entry.at > printed {
                        printer.print(&entry)?;
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) if may_pass(&status) => break,
                Err(status) => return Err(status.into()),
            }
        }
        client.give_up_current().await;
        if let Some(first) = printer.printed.values().min() {
            // What was printed is asked for again, and passed over, for the sake of the task that is furthest back.
            (request.tail, request.since) = (None, request.since.max(first / 1_000_000));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Printer {
    timestamps: bool,
    coloured: bool,
    /// The time of each task's last line.
    printed: BTreeMap<String, u64>,
}

impl Printer {
    fn print(&mut self, entry: &LogEntry) -> Result<()> {
        if entry.stream == "wharf" {
            let remark = clean(&String::from_utf8_lossy(&entry.line));
            writeln!(stderr(), "wharf: {}: {remark}", entry.task)?;
            return Ok(());
        }
        let mut line = prefix(&entry.task, self.coloured);
        if self.timestamps {
            line.push_str(&time::log_time(entry.at));
            line.push(' ');
        }
        let mut line = line.into_bytes();
        line.extend_from_slice(&entry.line);
        line.push(b'\n');
        // What a container wrote to its standard error goes to ours, as with docker.
        if entry.stream == "stderr" {
            stderr().write_all(&line)?;
        } else {
            stdout().lock().write_all(&line)?;
        }
        self.printed.insert(entry.task.clone(), entry.at);
        Ok(())
    }
}

/// The task's name, always in the same one of six colours.
fn prefix(task: &str, coloured: bool) -> String {
    if !coloured {
        return format!("{task} | ");
    }
    let sum = task.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("\x1b[{}m{task}\x1b[0m | ", 31 + sum % 6)
}

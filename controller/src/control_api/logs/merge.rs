//! Several finite logs as one, in the order of their times.

use super::{Client, task::TaskStream};
use std::{cmp::Reverse, collections::BinaryHeap};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::Status;
use wharf_proto::v1::LogEntry;

/// Lines that are read ahead of each log.
const AHEAD: usize = 32;

type Lines = mpsc::Receiver<Result<LogEntry, Status>>;

pub(super) async fn merge(streams: Vec<TaskStream>, client: &Client) {
    let mut reading = JoinSet::new();
    let mut logs = Vec::new();
    for stream in streams {
        let (sender, lines) = mpsc::channel(AHEAD);
        reading.spawn(async move { stream.read(&sender).await });
        logs.push(lines);
    }
    in_order(logs, client).await;
}

async fn in_order(mut logs: Vec<Lines>, client: &Client) {
    let mut heads: Vec<Option<Result<LogEntry, Status>>> = Vec::with_capacity(logs.len());
    let mut order = BinaryHeap::new();
    for (number, log) in logs.iter_mut().enumerate() {
        let head = log.recv().await;
        order.extend(head.as_ref().map(|head| Reverse((time(head), number))));
        heads.push(head);
    }
    while let Some(Reverse((_, number))) = order.pop() {
        let Some(line) = heads[number].take() else { continue };
        if client.send(line).await.is_err() {
            return;
        }
        heads[number] = logs[number].recv().await;
        order.extend(heads[number].as_ref().map(|head| Reverse((time(head), number))));
    }
}

/// What is ordered by. Remarks are told when they come.
fn time(line: &Result<LogEntry, Status>) -> u64 {
    match line {
        Ok(entry) if entry.stream != "wharf" => entry.at,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_in_the_order_of_their_times() {
        let mut logs = Vec::new();
        for times in [vec![1, 4, 6], vec![], vec![2, 3, 9]] {
            let (sender, lines) = mpsc::channel(AHEAD);
            for at in times {
                sender.send(Ok(LogEntry { at, ..LogEntry::default() })).await.unwrap();
            }
            logs.push(lines);
        }
        let (client, mut merged) = mpsc::channel(16);
        in_order(logs, &client).await;
        drop(client);
        let mut times = Vec::new();
        while let Some(line) = merged.recv().await {
            times.push(line.unwrap().at);
        }
        assert_eq!(times, [1, 2, 3, 4, 6, 9]);
    }
}

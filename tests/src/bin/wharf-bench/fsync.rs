//! How long the disk takes for what every committed write waits for.

use crate::report::Report;
use anyhow::Context;
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

/// How often it is measured.
const TIMES: u32 = 2000;
const PAGE: usize = 4096;
/// Pages that are written in turn, in a file that has them all before: no step changes the file's size.
const PAGES: u32 = 256;

/// Measures writing a page and fdatasync, in a file in `dir`.
pub fn measure(dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let path = dir.join("fsync-probe");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&vec![1; PAGE * PAGES as usize])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for count in 0..TIMES {
        let began = Instant::now();
        file.seek(SeekFrom::Start(u64::from(count % PAGES) * PAGE as u64))?;
        file.write_all(&[2; PAGE])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (p50, p99) = (micros(times[times.len() / 2]), micros(times[times.len() * 99 / 100]));
    println!("disk: a page written and fdatasync: p50 {p50:.0} us, p99 {p99:.0} us");
    report.add("fdatasync", &json!({ "p50_us": p50, "p99_us": p99 }));
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

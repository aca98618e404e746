//! `wharf logs`.

use crate::support::{Cluster, service};
use wharf_proto::v1::LogEntry;

fn entry(task: &str, stream: &str, at: u64, line: &str) -> LogEntry {
    LogEntry {
        task: task.to_owned(),
        node: "a1".to_owned(),
        stream: stream.to_owned(),
        at: at * 1_000_000_000,
        line: line.as_bytes().to_vec().into(),
    }
}

#[test]
fn lines_carry_their_task_and_go_where_the_container_wrote_them() {
    let cluster = Cluster::start(1);
    cluster.script.set(vec![service("shop/web", 1, 1)]);
    cluster.script.logs.lock().unwrap().push_back(vec![
        entry("shop/web.1", "stdout", 1, "up"),
        entry("shop/web.2", "stderr", 2, "oh no"),
        entry("shop/web.3", "wharf", 3, "logs can't be read now"),
    ]);
    let outcome = cluster.run(&["logs", "web", "-t", "--tail", "5", "--since", "1970-01-01T00:00:01Z"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert_eq!(outcome.out, "shop/web.1 | 1970-01-01T00:00:01.000000000Z up\n");
    let expected =
        "shop/web.2 | 1970-01-01T00:00:02.000000000Z oh no\nwharf: shop/web.3: logs can't be read now\n";
    assert_eq!(outcome.err, expected);
    let asked = &cluster.script.logs_asked.lock().unwrap()[0];
    assert_eq!((asked.target.as_str(), asked.tail, asked.since), ("shop/web", Some(5), 1000));
    cluster.run(&["logs", "web", "--since", "yesterday"]).failed(2, &["yesterday"]);
}

#[test]
fn logs_that_break_off_go_on_where_each_task_was() {
    let cluster = Cluster::start(1);
    let lines = [
        entry("shop/web.1", "stdout", 1, "one"),
        entry("shop/web.2", "stdout", 2, "two"),
        entry("shop/web.1", "stdout", 3, "three"),
        entry("shop/web.2", "stdout", 4, "four"),
    ];
    let mut logs = cluster.script.logs.lock().unwrap();
    logs.push_back(lines[..2].to_vec());
    // Asked again since the first task's last line: what was printed comes once more.
    logs.push_back(lines.to_vec());
    drop(logs);
    let printed = cluster.run(&["logs", "-f", "--tail", "2", "shop/web"]).ok();
    let expected = "shop/web.1 | one\nshop/web.2 | two\nshop/web.1 | three\nshop/web.2 | four\n";
    assert_eq!(printed, expected);
    let asked = cluster.script.logs_asked.lock().unwrap();
    assert_eq!((asked[0].tail, asked[0].since), (Some(2), 0));
    assert_eq!((asked[1].tail, asked[1].since), (None, 1000));
}

//! Commands inside running containers, and what the containers use.

mod common;

use std::time::{Duration, Instant};

use common::{Node, RUNTIMES, within};
use wharf_runtime::api::{ContainerRuntime, EXEC_OUTPUT_LIMIT, ExecSpec, RuntimeError};
use wharf_runtime::spec::{Resources, User};

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str) -> ExecSpec {
    ExecSpec::new(["sh", "-c", script].map(str::to_owned).into())
}

#[tokio::test]
async fn a_command_runs_with_the_containers_rights() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let mut spec = node.script("box", "sleep 1000; true");
        spec.env = vec!["A=1".into(), "B=2".into()];
        spec.resources.memory = Some(64 << 20);
        node.start(&spec).await.unwrap();
        let exec = |command: ExecSpec| {
            let shims = node.shims.clone();
            async move { within(shims.exec("box", command, LONG)).await.unwrap() }
        };
        let mut command = shell("echo $A $B; pwd; id -u; echo err >&2; exit 5");
        command.env = vec!["B=3".into()];
        command.cwd = Some("/tmp".into());
        command.user = Some(User::Name("web".into()));
        let done = exec(command).await;
        assert_eq!(done.code, Some(5), "{runtime}: {done:?}");
        assert_eq!(String::from_utf8(done.output).unwrap(), "1 3\n/tmp\n101\nerr\n");

        let rights = "cat /proc/self/cgroup | grep -o box | uniq; grep -E '^(Seccomp|CapEff):' /proc/self/status; \
            unshare -n true 2>/dev/null || echo denied; cat /proc/1/comm";
        let done = exec(shell(rights)).await;
        let out = String::from_utf8(done.output).unwrap().replace('\t', " ");
        assert_eq!(out, "box\nCapEff: 00000000a80425fb\nSeccomp: 2\ndenied\nsh\n", "{runtime}");

        let done = exec(shell("yes | head -c 100000; exit 1")).await;
        assert_eq!((done.code, done.output.len()), (Some(1), EXEC_OUTPUT_LIMIT));
        let done = exec(ExecSpec::new(vec!["no-such-command".into()])).await;
        assert_ne!(done.code, Some(0));
        assert!(String::from_utf8_lossy(&done.output).contains("not found in $PATH"), "{done:?}");
        let done = exec(shell("kill -9 $$")).await;
        assert_eq!(done.code, Some(137), "{runtime}: {done:?}");
        within(node.shims.delete("box")).await.unwrap();
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_children() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        node.start(&node.script("box", "sleep 1000")).await.unwrap();
        let begin = Instant::now();
        let command = shell("echo started; sleep 333 & (sleep 334 &) ; sleep 335");
        let done = within(node.shims.exec("box", command, Duration::from_millis(300))).await.unwrap();
        assert!(done.code.is_none() && begin.elapsed() < common::DEADLINE, "{runtime}: {done:?}");
        assert_eq!(done.output, b"started\n");
        let left =
            within(node.shims.exec("box", shell("ps | grep 'sleep 33' | grep -v grep"), LONG)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&left.output), "", "{runtime}");
        // The container itself goes on.
        assert!(within(node.shims.exec("box", shell("true"), LONG)).await.unwrap().code == Some(0));
        // One that leaves a process behind does not hang on its output.
        let done = within(node.shims.exec("box", shell("sleep 336 & echo left"), LONG)).await.unwrap();
        assert_eq!((done.code, done.output.as_slice()), (Some(0), &b"left\n"[..]));
        within(node.shims.delete("box")).await.unwrap();
        node.assert_clean().await;
    }
}

#[tokio::test]
async fn only_running_containers_can_be_asked() {
    let node = Node::new("wharf");
    let unknown = node.shims.exec("nothing", shell("true"), LONG).await;
    assert!(matches!(unknown, Err(RuntimeError::NotFound(_))));
    node.start(&node.script("short", "true")).await.unwrap();
    within(node.shims.wait("short")).await.unwrap();
    assert!(matches!(node.shims.exec("short", shell("true"), LONG).await, Err(RuntimeError::NotRunning(_))));
    assert!(matches!(node.shims.stats("short").await, Err(RuntimeError::NotRunning(_))));
    within(node.shims.delete("short")).await.unwrap();
    node.assert_clean().await;
}

#[tokio::test]
async fn what_a_container_uses_is_counted() {
    for runtime in RUNTIMES {
        let node = Node::new(runtime);
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000 & sleep 1000";
        let mut spec = node.script("busy", script);
        spec.resources = Resources { memory: Some(64 << 20), ..Resources::default() };
        node.start(&spec).await.unwrap();
        node.wait_for_output("busy", "ready").await;
        let stats = node.shims.stats("busy").await.unwrap();
        assert!(stats.cpu_nanos > 1_000_000 && stats.memory > 0 && stats.pids >= 1, "{runtime}: {stats:?}");
        assert_eq!(stats.memory_limit, Some(64 << 20));
        within(node.shims.delete("busy")).await.unwrap();
        node.assert_clean().await;
    }
}

//! The worker with the real runtime, images and network.

use crate::support::real::{Node, desired, script};
use crate::support::{in_own_network, until};
use wharf_cluster::model::TaskState;
use wharf_proto::v1::{Mount, Port, TmpfsMount, VolumeMount, mount};

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_task_runs_is_reached_at_its_port_and_leaves_nothing() {
    in_own_network(|| async {
        let node = Node::new().await;
        let mut agent = node.agent().await;
        let serve = "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp";
        let mut web = script(1, serve);
        let container = web.container.as_mut().unwrap();
        container.ports = vec![Port { target: 80, ..Port::default() }];
        agent.assign(vec![web.clone()]).await;
        let status = agent.reach(1, TaskState::Running).await;
        let (published, target) = status.ports[0];
        assert_eq!(target, 80);
        assert!(is_alive(status.pid.unwrap()));
        let url = format!("http://127.0.0.1:{published}/");
        let fetch =
            || std::process::Command::new("/bin/busybox").args(["wget", "-qO-", &url]).output().unwrap();
        until("an answer at the published port", || fetch().stdout == b"hello\n").await;

        agent.assign(vec![desired(&web, "shutdown")]).await;
        agent.reach(1, TaskState::Shutdown).await;
        until("the process's end", || !is_alive(status.pid.unwrap())).await;
        agent.assign(Vec::new()).await;
        agent.empty().await;
        agent.bridge.remove().await.unwrap();
        agent.kill().await;
        node.assert_clean();
    });
}

#[test]
fn a_killed_agent_finds_its_containers_again_and_misses_no_exit() {
    in_own_network(|| async {
        let node = Node::new().await;
        let mut agent = node.agent().await;
        let stays = script(1, "sleep 1000");
        let ends = script(2, "while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 3");
        let orphan = script(3, "sleep 1000");
        agent.assign(vec![stays.clone(), ends.clone(), orphan.clone()]).await;
        let mut pids = Vec::new();
        for id in 1..=3 {
            pids.push(agent.reach(id, TaskState::Running).await.pid.unwrap());
        }
        agent.kill().await;
        std::fs::write(format!("/proc/{}/root/tmp/end", pids[1]), "").unwrap();
        until("the end of the second container", || !is_alive(pids[1])).await;
        assert!(is_alive(pids[0]));

        let mut agent = node.agent().await;
        let ended = agent.reach(2, TaskState::Failed).await;
        assert_eq!(ended.exit.unwrap().code, 3);
        assert_eq!(ended.message, "exit code 3");
        let status = agent.reach(1, TaskState::Running).await;
        assert_eq!(status.pid, Some(pids[0]));
        assert!(is_alive(pids[0]));
        // The controller has given one of them up meanwhile.
        agent.assign(vec![stays.clone(), ends.clone()]).await;
        until("the orphan's end", || !is_alive(pids[2])).await;
        assert!(is_alive(pids[0]));
        agent.assign(Vec::new()).await;
        agent.empty().await;
        agent.bridge.remove().await.unwrap();
        agent.kill().await;
        node.assert_clean();
    });
}

#[test]
fn what_a_container_sees_is_what_its_task_says() {
    in_own_network(|| async {
        let node = Node::new().await;
        let mut agent = node.agent().await;
        let look = "hostname; echo $WHARF_TASK_NAME $COLOUR; cat /data/greeting; grep -c web.1 /etc/hosts; \
                    echo kept >/data/new; mount | grep -c ' /cache '; cat /etc/hostname";
        let mut web = script(1, look);
        let container = web.container.as_mut().unwrap();
        container.environment = [("COLOUR".to_owned(), "green".to_owned())].into();
        let volume = VolumeMount { name: Some("shop_data".into()), nocopy: false };
        container.mounts = vec![
            Mount { target: "/data".into(), kind: Some(mount::Kind::Volume(volume)), ..Mount::default() },
            Mount {
                target: "/cache".into(),
                kind: Some(mount::Kind::Tmpfs(TmpfsMount::default())),
                ..Mount::default()
            },
        ];
        agent.assign(vec![web.clone()]).await;
        agent.reach(1, TaskState::Complete).await;
        let log = std::fs::read_to_string(agent.worker.log_path(wharf_cluster::ids::TaskId(1))).unwrap();
        let lines: Vec<String> = log
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["log"]
                    .as_str()
                    .unwrap()
                    .trim()
                    .into()
            })
            .collect();
        assert_eq!(lines, ["web.1", "shop/web.1 green", "from the image", "1", "1", "web.1"]);
        let kept = node.path("data/volumes/shop_data/_data/new");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept\n");
        agent.assign(Vec::new()).await;
        agent.empty().await;
        assert!(kept.exists(), "named volumes outlive their tasks");
        agent.bridge.remove().await.unwrap();
        agent.kill().await;
        node.assert_clean();
    });
}

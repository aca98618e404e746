//! The command's own rules: when it starts, when it does not, and what it says.

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::support::{Process, client, command};

fn fails(args: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let output = command().arg("--data-dir").arg(dir.path()).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn plain_http_is_for_loopback_or_when_told_so() {
    let message = fails(&["--listen", "0.0.0.0:0"]);
    for way_out in ["--join", "--tls-cert", "127.0.0.1", "--plain-http"] {
        assert!(message.contains(way_out), "{message}");
    }
    let dir = TempDir::new().unwrap();
    assert!(Process::start(dir.path(), &["--plain-http"]).terminate());
}

#[test]
fn what_can_t_work_is_refused_with_a_reason() {
    let none = fails(&["--listen", "127.0.0.1:0", "--tls-cert", "/none.pem", "--tls-key", "/none.key"]);
    assert!(none.contains("/none.pem"), "{none}");
    let token = fails(&["--listen", "127.0.0.1:0", "--join", "127.0.0.1:1", "--token", "nonsense-secret"]);
    assert!(token.contains("--token") && !token.contains("nonsense-secret"), "{token}");
    let no_token = fails(&["--listen", "127.0.0.1:0", "--join", "127.0.0.1:1"]);
    assert!(no_token.contains("wharf token show --role registry"), "{no_token}");
    let push = fails(&["--listen", "127.0.0.1:0", "--require-client-cert"]);
    assert!(push.contains("--join"), "{push}");
}

#[tokio::test]
async fn one_data_folder_is_one_registry_s_and_sigterm_ends_it_well() {
    let dir = TempDir::new().unwrap();
    let first = Process::start(dir.path(), &[]);
    let second = command().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path()).output().unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("in use by another wharf-registry"), "{message}");
    let response = client().get(format!("http://{}/v2/", first.addr)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(first.terminate());
    assert!(Process::start(dir.path(), &[]).terminate());
}

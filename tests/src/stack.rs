//! Compose files that tests apply.

/// A web service of busybox that answers on port 8080 and has a health check.
#[must_use]
pub fn web(image: &str, replicas: u32) -> String {
    format!(
        r#"name: shop
services:
  web:
    image: {image}
    command: ["/bin/sh", "-c", "mkdir -p /tmp/www; hostname > /tmp/www/index.html; echo up; exec httpd -f -p 8080 -h /tmp/www"]
    ports: [{{ target: 8080, mode: host }}]
    stop_grace_period: 1s
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
      interval: 2s
      timeout: 2s
      start_interval: 200ms
      start_period: 10s
    deploy:
      replicas: {replicas}
      resources: {{ limits: {{ memory: 32M, pids: 32 }} }}
      restart_policy: {{ condition: any, delay: 500ms }}
      update_config: {{ parallelism: 2, delay: 200ms, monitor: 2s, failure_action: rollback, order: stop-first }}
"#
    )
}

/// A service that sleeps.
#[must_use]
pub fn sleeper(image: &str, replicas: u32) -> String {
    format!(
        r#"name: idle
services:
  sleeper:
    image: {image}
    command: ["sleep", "1000000"]
    init: true
    stop_grace_period: 1s
    deploy:
      replicas: {replicas}
      restart_policy: {{ condition: any, delay: 500ms }}
"#
    )
}

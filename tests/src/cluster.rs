//! A real cluster: controllers, a registry and agents as processes on hosts of their own.

use crate::{
    host::{Host, Switch},
    process::Process,
    view::ControllerView,
    wait::{wait_for, within},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};
use tempfile::TempDir;

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of controllers.
    pub controllers: u8,
    /// Number of agents.
    pub agents: u8,
    /// More arguments for every agent.
    pub agent_args: Vec<String>,
    /// More arguments for every controller.
    pub controller_args: Vec<String>,
    /// Give each agent's data a disk of so many bytes.
    pub agent_disk: Option<u64>,
    /// Give each controller's data a disk of so many bytes.
    pub controller_disk: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            controllers: 3,
            agents: 3,
            agent_args: Vec::new(),
            controller_args: Vec::new(),
            agent_disk: None,
            controller_disk: None,
        }
    }
}

/// One program's place: its host, its folder, and the program while it runs.
#[derive(Debug)]
struct Member {
    name: String,
    host: Host,
    process: Option<Process>,
}

/// A running cluster. Everything of it goes when this does.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    run: TempDir,
    bin: PathBuf,
    options: Options,
    client: Host,
    controllers: Vec<Member>,
    registry: Member,
    agents: Vec<Member>,
    _switch: Switch,
}

impl Cluster {
    /// Three controllers, a registry and three agents, all ready.
    ///
    /// # Panics
    /// When they don't become ready.
    #[must_use]
    pub fn start() -> Self {
        Cluster::with(Options::default())
    }

    /// A cluster as `options` say, ready.
    ///
    /// # Panics
    /// When it doesn't become ready.
    #[must_use]
    pub fn with(options: Options) -> Self {
        let switch = Switch::new();
        let member = |name: String, last: u8| Member { host: switch.host(&name, last), name, process: None };
        let mut cluster = Cluster {
            folder: tempfile::tempdir().expect("a folder can be made"),
            run: tempfile::Builder::new()
                .prefix("wt")
                .rand_bytes(4)
                .tempdir_in("/run")
                .expect("/run is writable"),
            bin: programs(),
            client: switch.host("client", 2),
            controllers: (1..=options.controllers).map(|n| member(format!("c{n}"), 10 + n)).collect(),
            registry: member("registry".to_owned(), 20),
            agents: (1..=options.agents).map(|n| member(format!("a{n}"), 30 + n)).collect(),
            options,
            _switch: switch,
        };
        cluster.boot();
        cluster
    }

    fn boot(&mut self) {
        self.make_disks(&self.controllers, self.options.controller_disk);
        self.start_controller_with(0, &["--bootstrap".to_owned()], &[]);
        let admin = self.folder.path().join("admin.json");
        wait_for("the admin's context", 30, || fs::metadata(&admin).ok().filter(|file| file.len() > 0));
        self.ok(&[
            "context",
            "add",
            admin.to_str().expect("temporary paths are text"),
            "--name",
            "test",
            "--use",
        ]);
        wait_for("the first controller", 30, || {
            self.run(&["get", "controllers"]).status.success().then_some(())
        });
        let first = format!("{}:7400", self.controllers[0].host.address);
        if self.controllers.len() > 1 {
            let token = self.token("controller");
            for index in 1..self.controllers.len() {
                self.start_controller_with(
                    index,
                    &["--join".to_owned(), first.clone()],
                    &[("WHARF_TOKEN", &token)],
                );
            }
            let wanted = self.controllers.len();
            within(
                60,
                "every controller votes",
                || self.controllers(),
                |all| all.iter().filter(|one| one.role != "learner").count() == wanted,
            );
        }
        let addresses = self.controller_addresses();
        self.ok(&[
            "context",
            "set",
            "test",
            "--registry",
            &self.registry_address(),
            "--addresses",
            &addresses.join(","),
        ]);
        let token = self.token("registry");
        self.start_registry(&token);
        self.make_disks(&self.agents, self.options.agent_disk);
        let token = self.token("agent");
        for index in 0..self.agents.len() {
            self.start_agent_with(index, &token);
        }
        let wanted = self.agents.len();
        within(
            60,
            "every agent is ready",
            || self.nodes(),
            |nodes| nodes.iter().filter(|node| node.state == "ready").count() == wanted,
        );
    }

    /// Gives each member a disk of its own for its data, if it is to have one.
    fn make_disks(&self, members: &[Member], bytes: Option<u64>) {
        let Some(bytes) = bytes else { return };
        for member in members {
            let folder = self.path(&member.name);
            fs::create_dir(&folder).expect("a folder can be made");
            let options = format!("size={bytes}");
            mount(
                Some("wharf-test"),
                folder.as_str(),
                Some("tmpfs"),
                MsFlags::empty(),
                Some(options.as_str()),
            )
            .expect("a tmpfs can be mounted");
        }
    }

    fn token(&self, role: &str) -> String {
        self.ok(&["token", "show", "--role", role]).trim().to_owned()
    }

    pub(crate) fn start_controller_with(&mut self, index: usize, how: &[String], env: &[(&str, &str)]) {
        let member = &self.controllers[index];
        let mut args = how.to_vec();
        args.extend(
            [
                "--name",
                &member.name,
                "--listen",
                "0.0.0.0:7400",
                "--advertise",
                &format!("{}:7400", member.host.address),
                "--data-dir",
                &self.path(&member.name),
                "--admin-context",
                &self.path("admin.json"),
            ]
            .map(str::to_owned),
        );
        args.extend(self.options.controller_args.iter().cloned());
        let log = self.log(&member.name);
        let process = Process::start(&member.host, &self.bin.join("wharf-controller"), &args, env, &log);
        self.controllers[index].process = Some(process);
    }

    /// Starts a controller that has run before.
    pub fn start_controller(&mut self, index: usize) {
        let how = if index == 0 {
            vec!["--bootstrap".to_owned()]
        } else {
            vec!["--join".to_owned(), format!("{}:7400", self.controllers[0].host.address)]
        };
        self.start_controller_with(index, &how, &[]);
    }

    /// Starts a controller on the data that it has, or none, with other arguments than usual.
    pub fn start_controller_as(&mut self, index: usize, how: &[&str]) {
        let how: Vec<String> = how.iter().map(ToString::to_string).collect();
        self.start_controller_with(index, &how, &[]);
    }

    /// Lets a controller without data join the one at `through`.
    pub fn join_controller(&mut self, index: usize, through: usize) {
        let token = self.token("controller");
        let through = format!("{}:7400", self.controllers[through].host.address);
        self.start_controller_with(index, &["--join".to_owned(), through], &[("WHARF_TOKEN", &token)]);
    }

    /// Removes all that a controller which doesn't run has on its disk.
    ///
    /// # Panics
    /// When that fails.
    pub fn lose_controller_data(&self, index: usize) {
        fs::remove_dir_all(self.path(&self.controllers[index].name)).expect("the data can be removed");
    }

    /// Runs `wharf-controller --recover` on a controller's data.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn recover_controller(&self, index: usize, args: &[&str]) -> Output {
        let member = &self.controllers[index];
        let program = self.bin.join("wharf-controller");
        let mut command = member.host.command(program.to_str().expect("the build's path is text"));
        command.args(["--recover", "--data-dir", &self.path(&member.name)]).args(args);
        command.stdin(std::process::Stdio::null()).output().expect("nsenter can be run")
    }

    /// Kills a controller as a crash would.
    pub fn kill_controller(&mut self, index: usize) {
        if let Some(mut process) = self.controllers[index].process.take() {
            process.kill();
        }
    }

    /// Tells a controller to end, and waits until it has.
    pub fn stop_controller(&mut self, index: usize) {
        if let Some(mut process) = self.controllers[index].process.take() {
            process.signal(nix::sys::signal::Signal::SIGTERM);
            process.wait();
        }
    }

    /// Whether a controller that was started has ended by itself.
    pub fn controller_has_ended(&mut self, index: usize) -> bool {
        self.controllers[index].process.as_mut().is_some_and(Process::has_ended)
    }

    /// Waits until a controller has ended by itself, and gives its exit code.
    ///
    /// # Panics
    /// When it goes on.
    pub fn controller_exit(&mut self, index: usize, seconds: u64) -> i32 {
        let member = &mut self.controllers[index];
        let mut process = member.process.take().expect("it was started");
        wait_for("a controller ends", seconds, || process.exit_code())
    }

    /// The running program of a controller.
    #[must_use]
    pub fn controller(&self, index: usize) -> Option<&Process> {
        self.controllers[index].process.as_ref()
    }

    /// Index of the leader.
    #[must_use]
    pub fn leader(&self) -> usize {
        wait_for("a leader", 30, || self.leader_if_any("20s"))
    }

    /// Index of the leader, if one is found within `time`.
    #[must_use]
    pub fn leader_if_any(&self, time: &str) -> Option<usize> {
        let all: Vec<ControllerView> =
            self.try_json(&["get", "controllers", "-o", "json", "--timeout", time])?;
        let leader = all.into_iter().find(|one| one.role == "leader")?;
        self.controllers.iter().position(|member| member.name == leader.name)
    }

    /// `host:port` of every controller.
    #[must_use]
    pub fn controller_addresses(&self) -> Vec<String> {
        self.controllers.iter().map(|member| format!("{}:7400", member.host.address)).collect()
    }

    fn start_registry(&mut self, token: &str) {
        let args = [
            "--join",
            &format!("{}:7400", self.controllers[0].host.address),
            "--listen",
            "0.0.0.0:5000",
            "--advertise",
            &self.registry.host.address,
            "--data-dir",
            &self.path("registry"),
        ]
        .map(str::to_owned);
        let (bin, log) = (self.bin.join("wharf-registry"), self.log("registry"));
        let process = Process::start(&self.registry.host, &bin, &args, &[("WHARF_TOKEN", token)], &log);
        self.registry.process = Some(process);
        wait_for("the registry", 30, || self.run(&["image", "ls"]).status.success().then_some(()));
    }

    /// Stops the registry for good.
    pub fn kill_registry(&mut self) {
        if let Some(mut process) = self.registry.process.take() {
            process.kill();
        }
    }

    /// `host:port` of the registry.
    #[must_use]
    pub fn registry_address(&self) -> String {
        format!("{}:5000", self.registry.host.address)
    }

    fn start_agent_with(&mut self, index: usize, token: &str) {
        let controllers = self.controller_addresses();
        let member = &self.agents[index];
        let mut args = [
            "--join",
            &controllers.join(","),
            "--name",
            &member.name,
            "--advertise",
            &member.host.address,
            "--data-dir",
            &self.path(&member.name),
            "--run-dir",
            &self.run_dir(&member.name),
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(self.options.agent_args.iter().cloned());
        let env = if token.is_empty() { vec![] } else { vec![("WHARF_TOKEN", token)] };
        let log = self.log(&member.name);
        let process = Process::start(&member.host, &self.bin.join("wharf-agent"), &args, &env, &log);
        self.agents[index].process = Some(process);
    }

    /// Starts an agent that has run before.
    pub fn start_agent(&mut self, index: usize) {
        self.start_agent_with(index, "");
    }

    /// Kills an agent as a crash would; its containers stay.
    pub fn kill_agent(&mut self, index: usize) {
        if let Some(mut process) = self.agents[index].process.take() {
            process.kill();
        }
    }

    /// The running program of an agent.
    #[must_use]
    pub fn agent(&self, index: usize) -> Option<&Process> {
        self.agents[index].process.as_ref()
    }

    /// The host of an agent.
    #[must_use]
    pub fn agent_host(&self, index: usize) -> &Host {
        &self.agents[index].host
    }

    /// The host of a controller.
    #[must_use]
    pub fn controller_host(&self, index: usize) -> &Host {
        &self.controllers[index].host
    }

    /// The host that the client runs on.
    #[must_use]
    pub fn client_host(&self) -> &Host {
        &self.client
    }

    /// A path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("temporary paths are text").to_owned()
    }

    /// The folder of a member's sockets.
    fn run_dir(&self, name: &str) -> String {
        self.run.path().join(name).to_str().expect("temporary paths are text").to_owned()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Where the programs are.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Runs `wharf` and gives what came of it.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn run(&self, args: &[&str]) -> Output {
        let program = self.bin.join("wharf");
        let mut command = self.client.command(program.to_str().expect("the build's path is text"));
        command.args(args).env("WHARF_CONFIG_DIR", self.folder.path().join("client")).env("NO_COLOR", "1");
        command.output().expect("nsenter can be run")
    }

    /// Runs `wharf` and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "wharf {}: {}\n{errors}{printed}", args.join(" "), output.status);
        printed
    }

    /// Runs `wharf`, which must fail, and gives its exit code and what it said.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(!output.status.success(), "wharf {} must fail, and said: {said}", args.join(" "));
        (output.status.code().unwrap_or(-1), said)
    }

    /// Applies a Compose file and waits as `wharf apply` does.
    pub fn apply(&self, yaml: &str) -> String {
        let file = self.write("stack.yaml", yaml);
        self.ok(&["apply", "--yes", "-f", &file])
    }

    /// Writes a file into the cluster's folder.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file can be written");
        path
    }

    /// What a member's program has printed.
    #[must_use]
    pub fn output_of(&self, name: &str) -> String {
        fs::read(self.log(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in self.controllers.iter().chain([&self.registry]).chain(&self.agents) {
                let output = self.output_of(&member.name);
                let shown = std::env::var("WHARF_TEST_LOG_LINES")
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(25);
                let lines: Vec<&str> = output.lines().collect();
                eprintln!("--- {}\n{}", member.name, lines[lines.len().saturating_sub(shown)..].join("\n"));
            }
        }
        for member in self.agents.iter_mut().chain([&mut self.registry]).chain(&mut self.controllers) {
            if let Some(process) = &mut member.process {
                process.signal(nix::sys::signal::Signal::SIGCONT);
                process.kill();
            }
        }
        for member in &self.agents {
            let program = self.bin.join("wharf-agent");
            let reset = member
                .host
                .command(program.to_str().unwrap_or_default())
                .args(["reset", "--yes", "--data-dir", &self.path(&member.name)])
                .args(["--run-dir", &self.run_dir(&member.name)])
                .output();
            match reset {
                Ok(output) if !output.status.success() => {
                    eprintln!("reset of {}: {}", member.name, String::from_utf8_lossy(&output.stderr));
                }
                Err(error) => eprintln!("reset of {}: {error}", member.name),
                Ok(_) => {}
            }
        }
        let (controllers, agents) = (self.options.controller_disk, self.options.agent_disk);
        for (members, _) in [(&self.controllers, controllers), (&self.agents, agents)]
            .iter()
            .filter(|(_, disk)| disk.is_some())
        {
            for path in members.iter().map(|member| self.path(&member.name)) {
                if let Err(error) = umount2(path.as_str(), MntFlags::MNT_DETACH) {
                    eprintln!("unmount {path}: {error}");
                }
            }
        }
    }
}

/// The folder of the programs under test.
///
/// # Panics
/// When they are not built.
#[must_use]
pub fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("WHARF_BIN_DIR") {
        return PathBuf::from(folder);
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().find(|folder| folder.join("wharf-controller").exists());
    folder.map(Path::to_owned).expect("the programs are built: cargo build --bins")
}

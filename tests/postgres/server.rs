//! A PostgreSQL server of one's own: made in a temporary folder, run by an
//! unprivileged user, gone with the test process however that ends.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a server may take to start or to stop.
const LONGEST: Duration = Duration::from_secs(60);

/// Whom the server runs as when the tests run as root, which it refuses.
const USER: &str = "postgres";

/// The folder of the server's programs.
fn programs() -> PathBuf {
    if let Ok(folder) = std::env::var("ONECARD_POSTGRES_BIN") {
        return folder.into();
    }
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().expect(
        "PostgreSQL's programs were not found: run scripts/setup (Debian's package postgresql), \
         or name their folder in ONECARD_POSTGRES_BIN",
    )
}

/// A command as the unprivileged user.
fn as_user(program: &str) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--init-groups", program]);
    command
}

/// A server in a folder of its own.
pub struct Server {
    folder: PathBuf,
    /// Held by the shell that watches over this server; closed with this process.
    _watch: ChildStdin,
    watcher: Mutex<Child>,
    databases: AtomicU32,
}

/// What makes a server: stopped at once and removed when standard input closes.
const WATCH: &str = "trap '' INT TERM; read -r _; \
    test -s \"$1/data/postmaster.pid\" && kill -QUIT \"$(head -n 1 \"$1/data/postmaster.pid\")\"; \
    while test -e \"$1/data/postmaster.pid\" && kill -0 \"$(head -n 1 \"$1/data/postmaster.pid\")\" 2>/dev/null; \
    do sleep 0.05; done; rm -rf \"$1\"";

impl Server {
    /// A folder for a server, watched over; nothing runs in it yet.
    fn in_new_folder() -> Self {
        let made = as_user("mktemp").args(["-d", "/tmp/onecard-pg-XXXXXX"]).output().expect("mktemp runs");
        let folder = String::from_utf8(made.stdout).expect("a path");
        let folder = PathBuf::from(folder.trim());
        assert!(folder.is_dir(), "no folder for a server: {}", String::from_utf8_lossy(&made.stderr));
        let mut watcher = as_user("sh")
            .args(["-c", WATCH, "watch"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell runs");
        let watch = watcher.stdin.take().expect("is piped");
        Server { folder, _watch: watch, watcher: Mutex::new(watcher), databases: AtomicU32::new(0) }
    }

    /// A new server that runs; `settings` are lines of its configuration.
    pub fn start(settings: &str) -> Self {
        let server = Server::in_new_folder();
        let mut make = server.program("initdb");
        make.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"]).arg(server.data());
        run(make);
        server.configure(settings);
        server.run();
        server
    }

    /// A standby of `primary`, running.
    pub fn standby_of(primary: &Server, name: &str) -> Self {
        let server = Server::in_new_folder();
        let mut copy = server.program("pg_basebackup");
        copy.args(["-U", "postgres", "-h"]).arg(&primary.folder).arg("-D").arg(server.data());
        copy.args(["--no-sync", "-X", "stream", "-c", "fast"]);
        run(copy);
        let follow = format!(
            "primary_conninfo = 'host={} user=postgres application_name={name}'\n",
            primary.folder.display()
        );
        server.configure(&follow);
        server.write("data/standby.signal", "");
        server.run();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        as_user(programs().join(name).to_str().expect("a path in UTF-8"))
    }

    /// Adds lines to the configuration; the last of a name counts.
    pub fn configure(&self, settings: &str) {
        let always = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = on\nshared_buffers = 32MB\n\
             max_connections = 80\nmax_wal_senders = 4\nwal_level = replica\nlogging_collector = off\n",
            self.folder.display()
        );
        let before = fs::read_to_string(self.data().join("postgresql.auto.conf")).unwrap_or_default();
        self.write("data/postgresql.auto.conf", &format!("{before}{always}{settings}"));
    }

    /// Writes a file that belongs to the server's user.
    fn write(&self, name: &str, content: &str) {
        let mut tee = as_user("tee")
            .arg(self.folder.join(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("tee runs");
        tee.stdin.take().expect("is piped").write_all(content.as_bytes()).expect("is read");
        assert!(tee.wait().expect("tee ends").success());
    }

    /// Lets it show this certificate from its next start on.
    pub fn encrypt(&self, certificate: &str, key: &str) {
        self.write("data/server.crt", certificate);
        self.write("data/server.key", "");
        let key_file = self.data().join("server.key");
        let mut mode = as_user("chmod");
        mode.arg("600").arg(key_file);
        run(mode);
        self.write("data/server.key", key);
        let before = fs::read_to_string(self.data().join("postgresql.auto.conf")).expect("readable");
        self.write("data/postgresql.auto.conf", &format!("{before}ssl = on\n"));
    }

    /// Starts it and waits until it takes connections.
    pub fn run(&self) {
        let mut start = self.program("pg_ctl");
        start
            .args(["start", "-w", "-s", "-t", "60", "-l"])
            .arg(self.folder.join("log"))
            .arg("-D")
            .arg(self.data());
        run(start);
    }

    /// Stops it as a power failure would, short of the disk.
    pub fn stop_at_once(&self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "-m", "immediate", "-s", "-w", "-D"]).arg(self.data());
        run(stop);
    }

    pub fn promote(&self) {
        let mut promote = self.program("pg_ctl");
        promote.args(["promote", "-w", "-s", "-D"]).arg(self.data());
        run(promote);
    }

    /// Reads the configuration again.
    pub fn reload(&self) {
        let mut reload = self.program("pg_ctl");
        reload.args(["reload", "-s", "-D"]).arg(self.data());
        run(reload);
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("the log is readable")
    }

    /// Runs a statement in a database and answers with its rows, unadorned.
    pub fn psql(&self, database: &str, statement: &str) -> String {
        let mut psql = self.program("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        psql.arg(&self.folder).args(["-d", database, "-c", statement]);
        String::from_utf8(run(psql)).expect("UTF-8").trim().to_owned()
    }

    /// A new, empty database.
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The address of a database on these servers' sockets.
    pub fn url(servers: &[&Server], database: &str) -> String {
        let hosts: Vec<_> = servers.iter().map(|server| server.folder.display().to_string()).collect();
        format!("host={} user=postgres dbname={database}", hosts.join(","))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watcher sees its input end when the field is dropped after this; it
        // is not waited for.
        let _ = self.watcher.lock().map(|mut watcher| watcher.try_wait());
    }
}

/// Runs a command to its end; its output. A failure is told with everything said.
fn run(mut command: Command) -> Vec<u8> {
    let started = Instant::now();
    let out = command.stdin(Stdio::null()).output().expect("the program runs");
    let said = [&out.stdout[..], &out.stderr[..]].concat();
    assert!(out.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&said));
    assert!(started.elapsed() < LONGEST, "{command:?} took {:?}", started.elapsed());
    out.stdout
}

/// The server that tests share, each with a database of its own.
pub fn shared() -> &'static Server {
    static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(""));
    &SHARED
}

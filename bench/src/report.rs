//! The table, on the terminal and in docs/performance.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// One line of the table, ready to print.
pub struct Row {
    /// What is measured; names the line in the document.
    pub figure: &'static str,
    /// What Narthex reached.
    pub narthex: String,
    /// What the floor reached; empty where there is none.
    pub floor: String,
    /// Narthex to floor; empty where there is no floor.
    pub ratio: String,
    /// What the project asks of itself.
    pub target: &'static str,
    /// Whether it is met.
    pub met: bool,
}

const HEADER: &str = "| figure | Narthex | floor | ratio | target | met | measured |\n\
                      | --- | --- | --- | --- | --- | --- | --- |\n";

const INTRODUCTION: &str = "# Performance\n\n\
    Written by `cargo run --release -p narthex-bench`; a line keeps the state of the last run that measured it.\n";

/// Which build on which day.
pub struct Stamp(String);

impl Stamp {
    /// Date, commit (marked `+` if the tree has changes on top) and load average.
    pub fn now() -> Result<Self> {
        let date = output("date", &["--utc", "+%F %H:%M"])?;
        let commit = output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"])?;
        let changes =
            output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "status", "--porcelain", "--untracked-files=no"])?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let load = load.split_ascii_whitespace().next().unwrap_or("?");
        Ok(Self(format!("{date}, {commit}{}, load {load}", if changes.is_empty() { "" } else { "+" })))
    }
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn line(row: &Row, stamp: &Stamp) -> String {
    let Row { figure, narthex, floor, ratio, target, met } = row;
    let met = if *met { "yes" } else { "no" };
    format!("| {figure} | {narthex} | {floor} | {ratio} | {target} | {met} | {} |\n", stamp.0)
}

/// The rows as a table.
pub fn table(rows: &[Row], stamp: &Stamp) -> String {
    rows.iter().fold(HEADER.to_owned(), |table, row| table + &line(row, stamp))
}

/// Puts the rows into docs/performance.md in place of the older lines of the same figures.
pub fn write(rows: &[Row], stamp: &Stamp) -> Result<()> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let old = if path.exists() { std::fs::read_to_string(&path)? } else { String::new() };
    let mut lines: Vec<String> =
        old.lines().filter(|line| line.starts_with("| ")).skip(2).map(|line| format!("{line}\n")).collect();
    for row in rows {
        let name = format!("| {} |", row.figure);
        let new = line(row, stamp);
        match lines.iter_mut().find(|line| line.starts_with(&name)) {
            Some(old) => *old = new,
            None => lines.push(new),
        }
    }
    let document = format!("{INTRODUCTION}\n{}\n\n{HEADER}{}\n{METHOD}", machine()?, lines.concat());
    std::fs::write(path, document)?;
    Ok(())
}

/// The machine in general terms.
fn machine() -> Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']))
        .collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or("unknown").trim();
    let mut text = String::from("Machine: ");
    write!(text, "{} × {}, Linux {kernel}.", models.len(), models.first().copied().unwrap_or("unknown CPU"))?;
    Ok(text)
}

const METHOD: &str = "\
## How to run it

```
cargo build --release -p narthex -p narthex-bench
npm ci --prefix bench/oidc-provider
cargo run --release -p narthex-bench                # everything, about ten minutes
cargo run --release -p narthex-bench -- token rest  # some rows; --help names them
```

Needs two cores, `taskset`, `strace` (for the syncs) and `node`, and some GB on the disk. Figures whose parts are not built yet (SCIM,
SAML, webhooks) have no row yet.

## How it is measured

- Server CPU per operation is the primary figure: user and system time of the process in the kernel's accounting (`/proc/PID/stat`,
  its children excluded), work after the last answer included. Narthex and its floor take turns, at least five each; medians.
- Servers and floors run on one core (`taskset`), the load generator on the other. Closed loops over loopback, bounded in time.
  Other work on the machine is part of the noise: the load average of the last minute stands in each line.
- The server is `narthex dev` on SQLite in a fresh folder, reached over the plain port.
- **token**: 16 connections, `client_secret_post`. The floor reads a POST, makes one RSA-2048 signature with aws-lc-rs over as many
  bytes as the answer has, and sends an answer of the same length. **tokens per second** is against node `oidc-provider`
  (in memory, RS256 JWT access tokens) on the same core.
- **code login**: 16 browsers with the cookie of one live session, each again and again: an authorization request (PKCE, state, nonce,
  `openid profile email offline_access`) that is answered by a redirect with a code, and the code's exchange for an access, an ID and a
  refresh token. Code and grant are durable (two commits each). The floor answers a GET by a redirect of the same length and a POST with
  two RSA-2048 signatures, each over half of the bytes of the answer. **refresh**: the same for a refresh token, which each answer
  replaces, against a POST with two signatures.
- **reads**: REST over 16 HTTP/1.1 connections; gRPC over 4 connections with 4 calls each. The floor is bare hyper that sends the same
  body (for gRPC with its trailer), and no header beyond `content-type`, `content-length` and `date`.
- **API tokens**: `POST /api/v1/tokens:validate` over 16 HTTP/1.1 connections, one token again and again: its row is in memory, and
  for a token of a user the membership and its roles are as well. The floor is that of the reads.
- **creates**: 64 HTTP/1.1 connections. CPU is counted until the server has been quiet for six seconds, so that what follows a
  create (audit chain, search index, folding of counters) counts too. The floor is a group-commit writer in one process with 64
  clients that each burn 120 µs of CPU per request and then wait for their rows: those of the create itself, in Narthex's own
  tables. Afterwards the database is counted: every acknowledged create is there, nothing is left to do. Syncs are
  counted by strace (`fsync`, `fdatasync`; all files, checkpoints and background work included) in a turn of their own.
- **creates of users**: the same with users who become members at once, in 64 organizations by turns. The rows of the floor are the
  user, the membership and its role, the event with its job and its mark for erasure, two counts and the mark for the search index.
- **list**: the first page of 100 in folders with 1,000,000 and with 1,000 organizations, copied into the database from one that
  was created over the API; the page in the middle is reached by the page tokens.
- **list of users**: the first page of `GET /api/v1/users`, memberships and roles included, in folders with 1,000,000 users in 50,000
  organizations and with 1,000 in 50, each with one membership and one role; copied in the same way.
- **searches**: one connection, one search at a time, page of 10, at the 1,000,000 users of that list; time to answer as the client
  sees it. Addresses are `given.family@company-NNNNN.example` of 53 and 47 names. Every kind of query has a line; the target is for
  each. The search index is filled in one transaction, so it has fewer segments than one that grew.
- **login page**: a first visit is the page and what it fetches, bodies only, with and without `accept-encoding`; browsers keep all but
  the page for good. The wait for the first byte is that of one HTTP/1.1 connection without load, the authorization request with its
  durable row apart. The floor of the CPU is that of the reads.
- **logins**: whole logins by the code in the mail, each with its tokens, by 2,000 people in 16 browsers; then the clock goes on until all has
  run out and the sweeps have taken it. Pages that hold something are counted before and after. The file keeps the length of the most that
  ever stood in it at once and is filled again from what is free. How much that is depends on where in the hour the sweeps find the logins,
  so that a second run may need a few pages more than the first: within 1 % counts as not grown.
- **memory**: VmRSS one second after readiness on an existing folder, and after 80,000 REST reads, 10,000 gRPC reads, 5,000 tokens
  and 5,000 creates.
- **start**: from the start of the process to the first 200 of `/readyz`, asked every millisecond; the folder's files are in the
  page cache.
";

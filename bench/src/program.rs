//! A program under measurement: a process pinned to one core, and what the kernel's accounting says about it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// A running process; ended when dropped.
pub struct Program {
    child: Child,
}

/// A command that runs on one core.
pub fn pinned(core: usize, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program.as_ref());
    command
}

/// Pins this process. Called before any thread is started: threads inherit it.
pub fn pin_self(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let done =
        Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &pid]).output()?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("taskset: {}", String::from_utf8_lossy(&done.stderr)).into())
    }
}

/// A program that stands beside this one in the target directory.
pub fn sibling(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

impl Program {
    /// Starts a server that is asked for its readiness by other means; its output goes to a file.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child })
    }

    /// Starts a floor, which prints `listening on ADDRESS` when it is ready; returns the address.
    pub fn start_floor(command: &mut Command) -> Result<(Self, String)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let program = Self { child };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").ok_or_else(|| format!("{command:?} said {line:?}"))?;
        Ok((program, address.to_owned()))
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }

    /// CPU time, user and system, of all threads that the process has and had, without its children.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // proc(5): the second field may hold anything but ends with the last `)`; utime and stime are fields 14 and 15.
        let after = stat.rsplit_once(')').ok_or("no command in stat")?.1;
        let ticks: std::result::Result<u64, _> =
            after.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>).sum();
        Ok(Duration::from_nanos(ticks? * 1_000_000_000 / rustix::param::clock_ticks_per_second()))
    }

    /// Resident memory in bytes (VmRSS: anonymous, file and shared pages).
    pub fn resident(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Waits until the process has done the work that its last requests left behind, so that it counts for them and for
    /// nothing else: a time of `quiet` in which it used no more than a fiftieth of the core. Gives up after two minutes.
    pub async fn settle(&self, quiet: Duration) -> Result<()> {
        let tick = Duration::from_nanos(1_000_000_000 / rustix::param::clock_ticks_per_second());
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let before = self.cpu()?;
            tokio::time::sleep(quiet).await;
            if self.cpu()? <= before + tick + quiet / 50 {
                return Ok(());
            }
            if Instant::now() > end {
                return Err("the server does not come to rest".into());
            }
        }
    }

    /// Asks the process to end, and waits for it.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error says that it has ended already.
        if self.child.kill().is_ok()
            && let Err(error) = self.child.wait()
        {
            eprintln!("a child that cannot be waited for: {error}");
        }
    }
}

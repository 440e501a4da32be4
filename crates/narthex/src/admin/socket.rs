//! The Unix socket of a running server: one JSON command per connection, one JSON answer. Whoever can open it, by the permissions of the
//! data folder, owns the data anyway.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Answer, Command, Refusal, execute};
use crate::exit::{Exit, Failure, io_failure};
use crate::gate::State;
use crate::listen::drain::Phase;

/// Seed files are the largest commands.
const LONGEST: u64 = 16 * 1024 * 1024;
/// For a command to arrive, and for its answer to be taken. What it does meanwhile takes as long as it needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the socket until the drain stops it. The caller owns the folder, so a socket that is there is a dead process's.
pub fn listen(path: &Path, state: Arc<State>) -> Result<JoinHandle<()>, Failure> {
    if path.exists() {
        std::fs::remove_file(path).map_err(io_failure(path.display()))?;
    }
    let socket = UnixListener::bind(path).map_err(io_failure(format!("admin socket {}", path.display())))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io_failure(path.display()))?;
    Ok(tokio::spawn(async move {
        let drain = state.drain.clone();
        let mut stop = std::pin::pin!(drain.reached(Phase::Stopping));
        loop {
            tokio::select! {
                () = stop.as_mut() => return,
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (state, guard) = (state.clone(), drain.connection());
                        tokio::spawn(async move {
                            let run = async |command| execute(&state.core, command).await;
                            if let Err(error) = answer(stream, PATIENCE, run).await {
                                tracing::warn!(%error, "admin socket");
                            }
                            drop(guard);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "admin socket");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }))
}

async fn answer(
    mut stream: UnixStream,
    patience: Duration,
    run: impl AsyncFnOnce(Command) -> Result<Answer, Failure>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    timeout(patience, BufReader::new(reader.take(LONGEST)).read_until(b'\n', &mut line)).await??;
    let result: Result<Answer, Refusal> = match serde_json::from_slice::<Command>(&line) {
        Ok(command) => run(command).await.map_err(Refusal::from),
        Err(error) => Err(Failure::new(Exit::Usage, format!("the server does not know this command: {error}")).into()),
    };
    let text = serde_json::to_vec(&result)?;
    timeout(patience, async {
        writer.write_all(&text).await?;
        writer.shutdown().await
    })
    .await?
}

/// Sends a command to the server that owns the folder. `None` if none runs.
pub async fn send(path: &Path, command: &Command) -> Result<Option<Answer>, Failure> {
    let Ok(mut stream) = UnixStream::connect(path).await else { return Ok(None) };
    let broken = || io_failure(format!("admin socket {}", path.display()));
    let mut line = serde_json::to_vec(command).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broken())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(broken())?;
    let answer: Result<Answer, Refusal> = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failure, format!("the server's answer is cut short: {error}")))?;
    answer.map(Some).map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_takes_as_long_as_it_needs_and_one_that_never_comes_does_not() {
        let patience = Duration::from_millis(100);
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(b"{\"command\":\"migrate_status\"}\n").await.unwrap();
        let long = async |_| {
            tokio::time::sleep(3 * patience).await;
            Ok(Answer::new("done", serde_json::Value::Null))
        };
        answer(server, patience, long).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("done"), "{text}");

        let (_client, server) = UnixStream::pair().unwrap();
        let silent = answer(server, patience, async |_| panic!("there is no command")).await;
        assert_eq!(silent.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }
}

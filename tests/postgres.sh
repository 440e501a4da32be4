#!/usr/bin/env bash
# A PostgreSQL server for tests, on loopback, with its data in a folder of its own.
#
#   tests/postgres.sh start DIR [--durable] [--port PORT]   starts a server and prints its URL (a superuser's)
#   tests/postgres.sh stop DIR                              stops that server, and no other
#   tests/postgres.sh install                               only makes sure that the programs are there
#
# Without --durable the server never syncs its files: a test that kills the machine needs --durable, one that kills a
# client does not. `start` on a folder with data starts it again. DIR/pid has the process id of the postmaster, DIR/url
# the URL, DIR/log the server's log.
set -euo pipefail

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64; }
fail() { echo "postgres.sh: $*" >&2; exit 1; }

[ $# -ge 2 ] || [ "${1:-}" = install ] || usage
action=$1 dir=${2:-}
shift $(($# < 2 ? $# : 2))
durable=off port=
while [ $# -gt 0 ]; do
  case $1 in
    --durable) durable=on ;;
    --port) port=${2:?} && shift ;;
    *) usage ;;
  esac
  shift
done

find_programs() {
  local candidate
  for candidate in /usr/lib/postgresql/15/bin /usr/lib/postgresql/*/bin; do
    [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && bin=$candidate && return 0
  done
  return 1
}

install_programs() {
  find_programs && return 0
  [ "$(id -u)" = 0 ] || fail "PostgreSQL is not installed, and only root can install it (package postgresql-15)"
  # The package would start a cluster of its own; tests want none but theirs.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
  { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15 ||
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15; }; } >&2
  find_programs || fail "PostgreSQL 15 was installed, but its programs were not found"
}

# initdb and postgres refuse to run as root.
as_owner() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# True if the process in DIR/pid is still the postmaster of this very folder, and not a stranger with a reused id.
running() {
  [ -s "$dir/pid" ] && [ -s "$dir/data/postmaster.pid" ] || return 1
  local pid
  pid=$(cat "$dir/pid")
  [ "$(head -n 1 "$dir/data/postmaster.pid")" = "$pid" ] && [ -d "/proc/$pid" ] &&
    tr '\0' ' ' < "/proc/$pid/cmdline" | grep -qF -- "-D $dir/data"
}

free_port() {
  local candidate
  for _ in $(seq 50); do
    candidate=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$candidate") 2> /dev/null || { echo "$candidate"; return 0; }
  done
  fail "no free port found"
}

start() {
  install_programs
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  running && { cat "$dir/url"; return 0; }
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; fi
  [ -s "$dir/data/PG_VERSION" ] || as_owner "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; fail "initdb failed (can the user postgres reach $dir?)"; }
  local try
  for try in 1 2 3 4 5; do
    local this=${port:-$(free_port)}
    # In its own session: an interrupt typed at the test run must not reach the server before the tests have ended.
    # Its descriptors are the log's, or whoever reads our output would wait for the server to end.
    as_owner setsid "$bin/postgres" -D "$dir/data" -k "$dir" -p "$this" -c listen_addresses=127.0.0.1 \
      -c fsync=$durable -c full_page_writes=$durable -c synchronous_commit=$durable \
      -c max_connections=400 -c shared_buffers=64MB -c max_wal_size=512MB -c autovacuum_naptime=10s \
      -c log_min_messages=warning < /dev/null >> "$dir/log" 2>&1 &
    local wrapper=$!
    for _ in $(seq 300); do
      if [ "$(sed -n 8p "$dir/data/postmaster.pid" 2> /dev/null | tr -d ' ')" = ready ]; then
        head -n 1 "$dir/data/postmaster.pid" > "$dir/pid"
        if running; then
          echo "postgres://postgres@127.0.0.1:$this/postgres" > "$dir/url"
          cat "$dir/url"
          return 0
        fi
      fi
      kill -0 "$wrapper" 2> /dev/null || break
      sleep 0.05
    done
    # Another process may have taken the port in between.
    kill -0 "$wrapper" 2> /dev/null && kill "$wrapper" 2> /dev/null
    [ -z "$port" ] || break
  done
  tail -n 20 "$dir/log" >&2
  fail "the server did not start"
}

stop() {
  [ -d "$dir" ] || return 0
  dir=$(cd "$dir" && pwd)
  running || return 0
  local pid
  pid=$(cat "$dir/pid")
  kill -INT "$pid" # fast shutdown: sessions are ended, data is kept
  for _ in $(seq 200); do
    [ -d "/proc/$pid" ] || return 0
    sleep 0.05
  done
  kill -QUIT "$pid"
}

case $action in
  start) start ;;
  stop) stop ;;
  install) install_programs ;;
  *) usage ;;
esac

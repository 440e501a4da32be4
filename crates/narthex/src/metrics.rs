//! Counters of this process, and their Prometheus text. Labels are route templates, codes and kinds of caller: never an id, an address
//! or a name. Hot counters are plain atomics in a table indexed by route; a route takes memory from its first request on.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use narthex_api::METHODS;

use crate::limits::Scope;

/// Requests that are not RPCs, by their template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the paths under their own names
pub enum Route {
    Token,
    Register,
    ResourceToken,
    UserInfo,
    Introspect,
    Revoke,
    Logout,
    Keys,
    OpenIdConfiguration,
    OAuthMetadata,
    Authorize,
    ResourceAuthorize,
    LoginPages,
    MagicLink,
    Operator,
    Invitation,
    Profile,
    Healthz,
    Readyz,
    GrpcHealth,
    Assets,
    Uploads,
    Dev,
    Admin,
    Redirect,
    Unmatched,
}

impl Route {
    const ALL: [Self; 26] = [
        Self::Token,
        Self::Register,
        Self::ResourceToken,
        Self::UserInfo,
        Self::Introspect,
        Self::Revoke,
        Self::Logout,
        Self::Keys,
        Self::OpenIdConfiguration,
        Self::OAuthMetadata,
        Self::Authorize,
        Self::ResourceAuthorize,
        Self::LoginPages,
        Self::MagicLink,
        Self::Operator,
        Self::Invitation,
        Self::Profile,
        Self::Healthz,
        Self::Readyz,
        Self::GrpcHealth,
        Self::Assets,
        Self::Uploads,
        Self::Dev,
        Self::Admin,
        Self::Redirect,
        Self::Unmatched,
    ];

    /// The template, for logs and metrics.
    pub fn template(self) -> &'static str {
        match self {
            Self::Token => "/oauth/token",
            Self::Register => "/api/v1/resources/{res_id}/clients:register",
            Self::ResourceToken => "/resources/{resource_id}/oauth/token",
            Self::UserInfo => "/userinfo",
            Self::Introspect => "/oauth/introspect",
            Self::Revoke => "/revoke",
            Self::Logout => "/oidc/logout",
            Self::Keys => "/keys",
            Self::OpenIdConfiguration => "/.well-known/openid-configuration",
            Self::OAuthMetadata => "/.well-known/oauth-authorization-server",
            Self::Authorize => "/oauth/authorize",
            Self::ResourceAuthorize => "/resources/{resource_id}/oauth/authorize",
            Self::LoginPages => "/a/{page}",
            Self::MagicLink => "/magicLink/{token}",
            Self::Operator => "/operator",
            Self::Invitation => "/invite/{secret}",
            Self::Profile => "/ui/profile/{page}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::GrpcHealth => "/grpc.health.v1.Health",
            Self::Assets => "/a/assets",
            Self::Uploads => "/uploads/{name}",
            Self::Dev => "/dev",
            Self::Admin => "(admin)",
            Self::Redirect => "(redirect)",
            Self::Unmatched => "(unmatched)",
        }
    }
}

/// Which row of the table a request counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Index into [`METHODS`].
    Rpc(usize),
    /// Anything else.
    Route(Route),
}

/// Upper bounds of the latency histogram.
const BOUNDS: [(Duration, &str); 12] = [
    (Duration::from_micros(250), "0.00025"),
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_micros(2_500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_secs(1), "1"),
    (Duration::from_secs(5), "5"),
];

/// HTTP statuses with a counter of their own; what is not here counts as the last.
const STATUSES: [u16; 17] = [200, 201, 204, 308, 400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 501, 503, 504];

/// `Caller::kind_name` of every kind.
const CALLERS: [&str; 8] =
    ["anonymous", "client", "organization_client", "user", "session", "portal", "member", "connected_account"];

struct Series {
    /// By status, then caller.
    requests: [[AtomicU64; CALLERS.len()]; STATUSES.len() + 1],
    /// The last is +Inf.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Series {
    fn new() -> Box<Self> {
        Box::new(Self {
            requests: [const { [const { AtomicU64::new(0) }; CALLERS.len()] }; STATUSES.len() + 1],
            buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            micros: AtomicU64::new(0),
        })
    }
}

/// The counters of this process.
pub struct Metrics {
    rows: Vec<OnceLock<Box<Series>>>,
    tokens_issued: AtomicU64,
    tokens_refused: AtomicU64,
    rate_limited: [AtomicU64; Scope::ALL.len()],
    started: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        Self {
            rows: (0..METHODS.len() + Route::ALL.len()).map(|_| OnceLock::new()).collect(),
            tokens_issued: AtomicU64::new(0),
            tokens_refused: AtomicU64::new(0),
            rate_limited: [const { AtomicU64::new(0) }; Scope::ALL.len()],
            started: Instant::now(),
        }
    }

    /// Counts one request. `status` is the HTTP status that the outcome has or, on gRPC, would have.
    pub fn request(&self, row: Row, status: u16, caller: &'static str, took: Duration) {
        let index = match row {
            Row::Rpc(index) => index,
            Row::Route(route) => METHODS.len() + route as usize,
        };
        let Some(cell) = self.rows.get(index) else { return };
        let series = cell.get_or_init(Series::new);
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        let caller = CALLERS.iter().position(|known| *known == caller).unwrap_or(0);
        series.requests[status][caller].fetch_add(1, Ordering::Relaxed);
        let bucket = BOUNDS.iter().position(|(bound, _)| took <= *bound).unwrap_or(BOUNDS.len());
        series.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        series.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts an answer of the token endpoint.
    pub fn token(&self, issued: bool) {
        let counter = if issued { &self.tokens_issued } else { &self.tokens_refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request refused by a rate limit.
    pub fn rate_limited(&self, scope: Scope) {
        self.rate_limited[scope as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the counters kept here.
    pub fn render(&self, text: &mut Exposition) {
        text.family("narthex_build_info", "gauge", "Version of this process.");
        text.sample("narthex_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.single("narthex_uptime_seconds", "gauge", "Since start.", self.started.elapsed().as_secs_f64());
        text.family("narthex_requests_total", "counter", "Requests by route, status and kind of caller.");
        self.each(|name, series| {
            for (status, callers) in series.requests.iter().enumerate() {
                let status = STATUSES.get(status).map_or_else(|| "other".to_owned(), u16::to_string);
                for (caller, count) in CALLERS.iter().zip(callers) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        text.sample(
                            "narthex_requests_total",
                            &[("route", name), ("status", &status), ("caller", caller)],
                            count,
                        );
                    }
                }
            }
        });
        text.family("narthex_request_duration_seconds", "histogram", "Time to answer, by route.");
        self.each(|name, series| {
            let mut cumulative = 0;
            let bounds = BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
            for (bound, bucket) in bounds.zip(&series.buckets) {
                cumulative += bucket.load(Ordering::Relaxed);
                text.sample("narthex_request_duration_seconds_bucket", &[("route", name), ("le", bound)], cumulative);
            }
            let seconds = Duration::from_micros(series.micros.load(Ordering::Relaxed)).as_secs_f64();
            text.sample("narthex_request_duration_seconds_sum", &[("route", name)], seconds);
            text.sample("narthex_request_duration_seconds_count", &[("route", name)], cumulative);
        });
        text.family("narthex_token_requests_total", "counter", "Answers of the token endpoint.");
        for (outcome, counter) in [("issued", &self.tokens_issued), ("refused", &self.tokens_refused)] {
            text.sample("narthex_token_requests_total", &[("outcome", outcome)], counter.load(Ordering::Relaxed));
        }
        text.family("narthex_rate_limited_total", "counter", "Requests refused by a rate limit.");
        for (scope, counter) in Scope::ALL.iter().zip(&self.rate_limited) {
            text.sample("narthex_rate_limited_total", &[("scope", scope.name())], counter.load(Ordering::Relaxed));
        }
    }

    fn each(&self, mut show: impl FnMut(&str, &Series)) {
        let names = METHODS.iter().map(|method| method.path).chain(Route::ALL.iter().map(|route| route.template()));
        for (name, cell) in names.zip(&self.rows) {
            if let Some(series) = cell.get() {
                show(name, series);
            }
        }
    }
}

/// Text in the Prometheus exposition format 0.0.4.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Content type of the text.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a metric family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
    }

    /// One sample. Label values are literals of this program, so they need no escaping.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (position, (label, value)) in labels.iter().enumerate() {
            let open = if position == 0 { '{' } else { ',' };
            // Writing to a String cannot fail.
            write!(self.0, "{open}{label}=\"{value}\"").ok();
        }
        self.0.push_str(if labels.is_empty() { " " } else { "} " });
        writeln!(self.0, "{value}").ok();
    }

    /// A family with one sample.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// What the kernel accounts to this process: memory, CPU time, descriptors (Linux; nothing elsewhere).
pub fn render_process(text: &mut Exposition) {
    const PAGE: u64 = 4_096;
    const TICKS_PER_SECOND: f64 = 100.0;
    let field =
        |content: &str, index: usize| content.split_whitespace().nth(index).and_then(|value| value.parse::<u64>().ok());
    if let Some(pages) = std::fs::read_to_string("/proc/self/statm").ok().and_then(|content| field(&content, 1)) {
        text.single("process_resident_memory_bytes", "gauge", "Resident memory.", pages * PAGE);
    }
    // The second field is the program's name in parentheses and may hold spaces: count from behind it.
    if let Some(stat) =
        std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(|content| content.rsplit_once(')'))
        && let (Some(user), Some(system)) = (field(stat.1, 11), field(stat.1, 12))
    {
        #[allow(clippy::cast_precision_loss)] // seconds of CPU time stay far below 2^52 ticks
        let seconds = (user + system) as f64 / TICKS_PER_SECOND;
        text.single("process_cpu_seconds_total", "counter", "CPU time, user and system.", seconds);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", "gauge", "Open descriptors.", descriptors.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_10_histogram_and_counters_read_back() {
        let metrics = Metrics::new();
        metrics.request(Row::Rpc(0), 200, "client", Duration::from_micros(300));
        metrics.request(Row::Rpc(0), 404, "client", Duration::from_secs(9));
        metrics.request(Row::Route(Route::Unmatched), 418, "anonymous", Duration::ZERO);
        metrics.rate_limited(Scope::TokenPerIp);
        let mut text = Exposition::default();
        metrics.render(&mut text);
        let text = text.finish();
        let path = METHODS[0].path;
        for line in [
            format!("narthex_requests_total{{route=\"{path}\",status=\"200\",caller=\"client\"}} 1"),
            format!("narthex_requests_total{{route=\"{path}\",status=\"404\",caller=\"client\"}} 1"),
            "narthex_requests_total{route=\"(unmatched)\",status=\"other\",caller=\"anonymous\"} 1".to_owned(),
            format!("narthex_request_duration_seconds_bucket{{route=\"{path}\",le=\"0.00025\"}} 0"),
            format!("narthex_request_duration_seconds_bucket{{route=\"{path}\",le=\"0.0005\"}} 1"),
            format!("narthex_request_duration_seconds_bucket{{route=\"{path}\",le=\"+Inf\"}} 2"),
            format!("narthex_request_duration_seconds_sum{{route=\"{path}\"}} 9.0003"),
            "narthex_rate_limited_total{scope=\"token_per_ip\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

//! What can go wrong, as callers see it. An [`Error`] has a public half (kind, code, message, violations), which any transport may
//! render, and a private cause, which only the log sees. It is logged once, at the edge.

use std::borrow::Cow;
use std::fmt;

use narthex_db::DbError;

/// The class of a failure: the gRPC status codes in use (`google.rpc.Code`), with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the codes under their own names
pub enum Kind {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Kind {
    /// The `error_code` of `ErrorInfo` when nothing more specific is known (control plane reference §15.2).
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RATE_LIMITED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// Every kind, for tables and tests.
    pub const ALL: [Self; 14] = [
        Self::Cancelled,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::Unauthenticated,
    ];
}

/// One broken rule of a request (`ValidationErrorInfo.FieldViolation`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in proto names, e.g. `organization.display_name`.
    pub field: String,
    /// What is wrong, for people.
    pub description: String,
    /// Rule id, e.g. `string.max_len`.
    pub constraint: String,
}

impl Violation {
    /// A violation of the given rule.
    pub fn new(field: impl Into<String>, constraint: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), constraint: constraint.into() }
    }
}

/// A refused or failed operation.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    code: &'static str,
    message: Cow<'static, str>,
    violations: Vec<Violation>,
    required_permissions: Vec<String>,
    retry_after_seconds: Option<u32>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of an operation of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error whose message may be shown to the caller.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: kind.code(),
            message: message.into(),
            violations: Vec::new(),
            required_permissions: Vec::new(),
            retry_after_seconds: None,
            cause: None,
        }))
    }

    /// INVALID_ARGUMENT that names one field.
    pub fn invalid(field: impl Into<String>, constraint: impl Into<String>, description: impl Into<String>) -> Self {
        Self::violations(vec![Violation::new(field, constraint, description)])
    }

    /// INVALID_ARGUMENT that names every broken rule.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            // A rule over the whole request names no field.
            [one] if one.field.is_empty() => one.description.clone(),
            [one] => format!("{}: {}", one.field, one.description),
            many => format!(
                "{} fields are invalid: {}",
                many.len(),
                many.iter().map(|v| v.field.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        let mut error = Self::new(Kind::InvalidArgument, message);
        error.0.violations = violations;
        error
    }

    /// INVALID_ARGUMENT for a value that must be unique and is taken (orgs-users-rbac reference §8.2: SDK tests look for this text).
    pub fn duplicate(field: &str) -> Self {
        let text = format!("duplicate key not allowed: {field} already exists");
        let mut error = Self::new(Kind::InvalidArgument, text.clone());
        error.0.violations = vec![Violation::new(field, "unique", text)];
        error
    }

    /// NOT_FOUND for a thing named by its noun.
    pub fn not_found(noun: &str) -> Self {
        Self::new(Kind::NotFound, format!("{noun} not found"))
    }

    /// UNAUTHENTICATED: only for a missing or bad bearer token (every SDK answers it by fetching a new token and resending).
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, message)
    }

    /// PERMISSION_DENIED, naming the permissions any one of which would do.
    pub fn permission_denied(required: &[&str]) -> Self {
        let mut error = Self::new(Kind::PermissionDenied, "permission denied");
        error.0.required_permissions = required.iter().map(|&p| p.to_owned()).collect();
        error
    }

    /// A bug or a broken invariant: the caller learns nothing but the request id.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "internal error").because(cause)
    }

    /// UNAVAILABLE: nothing was written and the same request may be sent again.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Unavailable, "temporarily unavailable, retry").because(cause)
    }

    /// RESOURCE_EXHAUSTED with `Retry-After`.
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        Self::new(Kind::ResourceExhausted, "rate limit exceeded").retry_after(retry_after_seconds)
    }

    /// Says after how many seconds a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Replaces the `error_code`.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// Attaches the private cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Class.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        self.0.code
    }
    /// Text for the caller, in English.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Broken rules, if this is about the request's fields.
    pub fn field_violations(&self) -> &[Violation] {
        &self.0.violations
    }
    /// Permissions any one of which would have been enough.
    pub fn required_permissions(&self) -> &[String] {
        &self.0.required_permissions
    }
    /// Seconds until a retry makes sense.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_seconds
    }
    /// The database's own error behind it, where there is one.
    pub(crate) fn database(&self) -> Option<&DbError> {
        self.cause()?.downcast_ref()
    }
    /// What really happened; for the log only.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}): {}", self.0.kind, self.0.code, self.0.message)?;
        if let Some(cause) = &self.0.cause {
            write!(f, " because {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

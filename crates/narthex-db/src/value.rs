//! Parameters of a statement: the few types that both engines store alike.

use std::fmt;

/// One parameter. Booleans are `Int` 0/1, times are `Int` microseconds since the Unix epoch (UTC), JSON is `Text`.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT. A U+0000 inside is refused when the statement runs, since PostgreSQL cannot store it.
    Text(String),
    /// BLOB (SQLite) or BYTEA (PostgreSQL).
    Blob(Vec<u8>),
}

/// Shows type and length only: parameters carry secrets, and a parameter list ends up in logs sooner or later.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("Null"),
            Value::Int(_) => f.write_str("Int"),
            Value::Text(text) => write!(f, "Text[{}]", text.len()),
            Value::Blob(bytes) => write!(f, "Blob[{}]", bytes.len()),
        }
    }
}

/// Builds the parameter list of a statement: `p![id, &name, 3]` is `[Value; 3]`. Each argument goes through
/// [`Value::from`], so references to the usual types do as well.
#[macro_export]
macro_rules! p {
    ($($value:expr),* $(,)?) => { [$($crate::Value::from($value)),*] };
}

macro_rules! int {
    ($($t:ty),*) => {$(
        impl From<$t> for Value {
            fn from(value: $t) -> Value {
                Value::Int(i64::from(value))
            }
        }
        impl From<&$t> for Value {
            fn from(value: &$t) -> Value {
                Value::Int(i64::from(*value))
            }
        }
    )*};
}
int!(i64, i32, i16, u32, u16, u8, bool);

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::Text(value.clone())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<&&str> for Value {
    fn from(value: &&str) -> Value {
        Value::Text((*value).to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Blob(value)
    }
}

impl From<&Vec<u8>> for Value {
    fn from(value: &Vec<u8>) -> Value {
        Value::Blob(value.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Blob(value.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Value {
        Value::Blob(value.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Value {
        Value::Blob(value.to_vec())
    }
}

impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, <Value as From<T>>::from)
    }
}

// Clones rather than asking for `Value: From<&T>`: that bound would make type inference recurse without end.
impl<T> From<&Option<T>> for Value
where
    T: Clone,
    Value: From<T>,
{
    fn from(value: &Option<T>) -> Value {
        value.as_ref().map_or(Value::Null, |value| <Value as From<T>>::from(value.clone()))
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Value {
        value.clone()
    }
}

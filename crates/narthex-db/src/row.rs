//! Reading rows: a borrowed row of either engine, and the mapping of its columns to Rust types.

use crate::DbError;

/// A row as the engine holds it; lives only while it is mapped.
pub struct Row<'a> {
    inner: Inner<'a>,
}

enum Inner<'a> {
    Lite(&'a rusqlite::Row<'a>),
    Pg(&'a tokio_postgres::Row),
}

/// One column of a row, borrowed from the engine.
#[derive(Clone, Copy)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// Any integer type; PostgreSQL's BOOLEAN is 0/1.
    Int(i64),
    /// TEXT, guaranteed UTF-8.
    Text(&'a str),
    /// BLOB or BYTEA.
    Blob(&'a [u8]),
}

impl<'a> Row<'a> {
    pub(crate) fn lite(row: &'a rusqlite::Row<'a>) -> Row<'a> {
        Row { inner: Inner::Lite(row) }
    }

    pub(crate) fn pg(row: &'a tokio_postgres::Row) -> Row<'a> {
        Row { inner: Inner::Pg(row) }
    }

    /// Column `i`, counted from 0, as `T`. A column of another type, a NULL for a `T` that is not an `Option`, or an
    /// integer out of range is [`DbError::Data`].
    pub fn get<T: FromValue>(&self, i: usize) -> Result<T, DbError> {
        self.cell(i).and_then(T::from_cell).map_err(|error| match error {
            DbError::Data(what) => DbError::Data(format!("column {i}: {what}")),
            other => other,
        })
    }

    /// Column `i`, counted from 0, without a copy.
    pub fn cell(&self, i: usize) -> Result<Cell<'a>, DbError> {
        match self.inner {
            Inner::Lite(row) => crate::sqlite::cell(row, i),
            Inner::Pg(row) => crate::postgres::cell(row, i),
        }
    }
}

impl<'a> Cell<'a> {
    fn kind(self) -> &'static str {
        match self {
            Cell::Null => "NULL",
            Cell::Int(_) => "an integer",
            Cell::Text(_) => "text",
            Cell::Blob(_) => "bytes",
        }
    }

    fn mismatch(self, wanted: &str) -> DbError {
        DbError::Data(format!("expected {wanted}, found {}", self.kind()))
    }

    /// The integer, or [`DbError::Data`].
    pub fn int(self) -> Result<i64, DbError> {
        match self {
            Cell::Int(value) => Ok(value),
            other => Err(other.mismatch("an integer")),
        }
    }

    /// The text, or [`DbError::Data`].
    pub fn text(self) -> Result<&'a str, DbError> {
        match self {
            Cell::Text(value) => Ok(value),
            other => Err(other.mismatch("text")),
        }
    }

    /// The bytes, or [`DbError::Data`].
    pub fn blob(self) -> Result<&'a [u8], DbError> {
        match self {
            Cell::Blob(value) => Ok(value),
            other => Err(other.mismatch("bytes")),
        }
    }
}

/// A type that one column can hold. Newtypes of the product implement it through [`Cell::int`] and its siblings.
pub trait FromValue: Sized {
    /// Maps the column; every refusal is [`DbError::Data`].
    fn from_cell(cell: Cell<'_>) -> Result<Self, DbError>;
}

impl FromValue for i64 {
    fn from_cell(cell: Cell<'_>) -> Result<i64, DbError> {
        cell.int()
    }
}

impl FromValue for i32 {
    fn from_cell(cell: Cell<'_>) -> Result<i32, DbError> {
        i32::try_from(cell.int()?).map_err(|_| DbError::Data("integer out of range for i32".into()))
    }
}

impl FromValue for u32 {
    fn from_cell(cell: Cell<'_>) -> Result<u32, DbError> {
        u32::try_from(cell.int()?).map_err(|_| DbError::Data("integer out of range for u32".into()))
    }
}

impl FromValue for bool {
    fn from_cell(cell: Cell<'_>) -> Result<bool, DbError> {
        match cell.int()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DbError::Data("expected 0 or 1".into())),
        }
    }
}

impl FromValue for String {
    fn from_cell(cell: Cell<'_>) -> Result<String, DbError> {
        cell.text().map(str::to_owned)
    }
}

impl FromValue for Vec<u8> {
    fn from_cell(cell: Cell<'_>) -> Result<Vec<u8>, DbError> {
        cell.blob().map(<[u8]>::to_vec)
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_cell(cell: Cell<'_>) -> Result<[u8; N], DbError> {
        let bytes = cell.blob()?;
        bytes.try_into().map_err(|_| DbError::Data(format!("expected {N} bytes, found {}", bytes.len())))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_cell(cell: Cell<'_>) -> Result<Option<T>, DbError> {
        match cell {
            Cell::Null => Ok(None),
            present => T::from_cell(present).map(Some),
        }
    }
}

/// A type that a whole row maps to. Tuples of up to twelve columns do; a single column is `(T,)`.
pub trait FromRow: Sized {
    /// Maps the row; refusals are [`DbError::Data`].
    fn from_row(row: &Row<'_>) -> Result<Self, DbError>;
}

macro_rules! tuple {
    ($($name:ident $i:tt),*) => {
        impl<$($name: FromValue),*> FromRow for ($($name,)*) {
            fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
                Ok(($(row.get::<$name>($i)?,)*))
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

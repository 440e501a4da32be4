//! As much of CBOR (RFC 8949) as authenticators write: definite lengths, no tags, no floating point numbers but to skip them.

use std::ops::Range;

/// Deepest nesting. CTAP 2.1 §8 allows four.
const DEEPEST: u8 = 8;
/// Most pairs of a map.
const WIDEST: u64 = 64;

/// An item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<'a> {
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// A list.
    Array(Vec<Item<'a>>),
    /// Pairs, in their order; no key twice.
    Map(Vec<(Item<'a>, Item<'a>)>),
    /// True, false, null or another value that nothing here depends on.
    Other,
}

/// The bytes are no item of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Item<'a> {
    /// The item at the start, and the bytes that it takes.
    pub fn first(bytes: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        let item = reader.item(DEEPEST)?;
        Ok((item, reader.at))
    }

    /// The one item that the bytes are.
    pub fn whole(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (item, length) = Self::first(bytes)?;
        if length == bytes.len() { Ok(item) } else { Err(Malformed) }
    }

    /// The value of a text key.
    pub fn at(&self, key: &str) -> Option<&Self> {
        self.value(&Item::Text(key))
    }

    /// The value of a number key.
    pub fn at_int(&self, key: i64) -> Option<&Self> {
        self.value(&Item::Int(key))
    }

    fn value(&self, key: &Item<'_>) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The number.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The bytes.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The text.
    pub fn text(&self) -> Option<&'a str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }

    /// Whether it is a map without pairs.
    pub fn is_empty_map(&self) -> bool {
        matches!(self, Self::Map(pairs) if pairs.is_empty())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let range: Range<usize> = self.at..self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(range).ok_or(Malformed)?;
        self.at += length;
        Ok(taken)
    }

    /// Major type and argument of the next head; indefinite lengths are malformed here.
    fn head(&mut self) -> Result<(u8, u64), Malformed> {
        let first = self.take(1)?[0];
        let argument = match first & 31 {
            small @ 0..=23 => u64::from(small),
            width @ 24..=27 => {
                self.take(1 << (width - 24))?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
            }
            _ => return Err(Malformed),
        };
        Ok((first >> 5, argument))
    }

    fn item(&mut self, depth: u8) -> Result<Item<'a>, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let (major, argument) = self.head()?;
        let length = usize::try_from(argument).map_err(|_| Malformed);
        Ok(match major {
            0 => Item::Int(i64::try_from(argument).map_err(|_| Malformed)?),
            1 => Item::Int(-1 - i64::try_from(argument).map_err(|_| Malformed)?),
            2 => Item::Bytes(self.take(length?)?),
            3 => Item::Text(std::str::from_utf8(self.take(length?)?).map_err(|_| Malformed)?),
            4 => {
                let mut items = Vec::new();
                for _ in 0..length? {
                    items.push(self.item(depth)?);
                }
                Item::Array(items)
            }
            5 if argument <= WIDEST => {
                let mut pairs: Vec<(Item<'a>, Item<'a>)> = Vec::new();
                for _ in 0..argument {
                    let key = self.item(depth)?;
                    // Two readers could each believe another one of them.
                    if !matches!(key, Item::Int(_) | Item::Text(_)) || pairs.iter().any(|(known, _)| *known == key) {
                        return Err(Malformed);
                    }
                    pairs.push((key, self.item(depth)?));
                }
                Item::Map(pairs)
            }
            7 => Item::Other,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_rfc_8949_appendix_a_has_them() {
        let whole = |bytes: &'static [u8]| Item::whole(bytes);
        assert_eq!(whole(&[0x18, 0x64]), Ok(Item::Int(100)));
        assert_eq!(whole(&[0x1a, 0x00, 0x0f, 0x42, 0x40]), Ok(Item::Int(1_000_000)));
        assert_eq!(whole(&[0x39, 0x03, 0xe7]), Ok(Item::Int(-1_000)));
        assert_eq!(whole(&[0x44, 1, 2, 3, 4]), Ok(Item::Bytes(&[1, 2, 3, 4])));
        assert_eq!(whole(&[0x62, 0xc3, 0xbc]), Ok(Item::Text("ü")));
        assert_eq!(
            whole(&[0xa2, 0x61, b'a', 0x01, 0x61, b'b', 0x82, 0x02, 0xf5]),
            Ok(Item::Map(vec![
                (Item::Text("a"), Item::Int(1)),
                (Item::Text("b"), Item::Array(vec![Item::Int(2), Item::Other]))
            ]))
        );
        assert_eq!(whole(&[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]), Ok(Item::Other));
        assert_eq!(Item::first(&[0x01, 0x02]), Ok((Item::Int(1), 1)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let deep = [[0x81; 9].as_slice(), &[0x00]].concat();
        for bad in [
            &[][..],
            &[0x18],
            &[0x44, 1, 2],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5f, 0x41, 0x00, 0xff],
            &[0xa2, 0x01, 0x02, 0x01, 0x03],
            &[0xa1, 0x80, 0x01],
            &[0xc1, 0x01],
            &[0x61, 0xff],
            &[0x01, 0x02],
            &deep,
        ] {
            assert_eq!(Item::whole(bad), Err(Malformed), "{bad:02x?}");
        }
    }
}

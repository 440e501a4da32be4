//! The one PKCS #12 file that `narthex dev` writes: a trust store for the JVM holding one CA certificate (RFC 7292). The structure is
//! fixed, so it is written out here instead of pulling in a second family of crypto crates.

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;

/// Iterations of the MAC key derivation; it protects nothing secret, only integrity under a public password.
const ITERATIONS: u32 = 10_000;

/// A trust store with this certificate under this alias. The MAC is HMAC-SHA256, which Java reads since 8u301.
pub fn trust_store(certificate_der: &[u8], alias: &str, password: &str, salt: [u8; 20]) -> Vec<u8> {
    let bag = sequence(&[
        oid(&[1, 2, 840, 113_549, 1, 12, 10, 1, 3]), // certBag
        explicit(0, &sequence(&[oid(&[1, 2, 840, 113_549, 1, 9, 22, 1]), explicit(0, &tlv(0x04, certificate_der))])),
        set(&[
            sequence(&[oid(&[1, 2, 840, 113_549, 1, 9, 20]), set(&[bmp_string(alias)])]), // friendlyName
            // Without Oracle's trustedKeyUsage Java reads the file but trusts nothing in it. The value is anyExtendedKeyUsage.
            sequence(&[oid(&[2, 16, 840, 1, 113_894, 746_875, 1, 1]), set(&[oid(&[2, 5, 29, 37, 0])])]),
        ]),
    ]);
    let safe_contents = sequence(&[bag]);
    let authenticated_safe = sequence(&[data(&safe_contents)]);
    let key = mac_key(password, &salt);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &authenticated_safe);
    let mac_data = sequence(&[
        sequence(&[sequence(&[oid(&[2, 16, 840, 1, 101, 3, 4, 2, 1]), tlv(0x05, &[])]), tlv(0x04, mac.as_ref())]),
        tlv(0x04, &salt),
        integer(ITERATIONS),
    ]);
    sequence(&[integer(3), data(&authenticated_safe), mac_data])
}

/// RFC 7292 appendix B.2 with SHA-256 (u = 32, v = 64), ID 3, one block.
fn mac_key(password: &str, salt: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let fill =
        |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().div_ceil(BLOCK) * BLOCK).collect() };
    // The password is a BMPString with its terminating zero.
    let password: Vec<u8> = password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let mut context = digest::Context::new(&SHA256);
    context.update(&[3; BLOCK]);
    context.update(&fill(salt));
    context.update(&fill(&password));
    let mut key = context.finish();
    for _ in 1..ITERATIONS {
        key = digest::digest(&SHA256, key.as_ref());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.as_ref());
    bytes
}

/// ContentInfo of type `data`.
fn data(content: &[u8]) -> Vec<u8> {
    sequence(&[oid(&[1, 2, 840, 113_549, 1, 7, 1]), explicit(0, &tlv(0x04, content))])
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 0x80) {
        out.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(content);
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// SET OF; DER orders the elements.
fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = parts.to_vec();
    parts.sort();
    tlv(0x31, &parts.concat())
}

fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, content)
}

fn bmp_string(text: &str) -> Vec<u8> {
    tlv(0x1e, &text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

fn integer(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(3);
    let mut content = bytes[start..].to_vec();
    if content[0] & 0x80 != 0 {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

fn oid(arcs: &[u32]) -> Vec<u8> {
    let mut content = Vec::new();
    let first = arcs[0] * 40 + arcs[1];
    for arc in std::iter::once(&first).chain(&arcs[2..]) {
        let groups = (32 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let seven = (arc >> (7 * group)) & 0x7f;
            let more = if group > 0 { 0x80 } else { 0 };
            content.push(u8::try_from(seven).unwrap_or(0x7f) | more);
        }
    }
    tlv(0x06, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_primitives() {
        assert_eq!(oid(&[1, 2, 840, 113_549]), [0x06, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(integer(128), [2, 2, 0, 128]);
        assert_eq!(integer(10_000), [2, 2, 0x27, 0x10]);
        assert_eq!(tlv(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tlv(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}

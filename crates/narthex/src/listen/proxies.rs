//! Who really sent a request, when proxies stand in front. Forwarding headers are claims: only those added by a trusted proxy count,
//! so the chain is read from the right, and ends at the first address that is not ours.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;

/// An address range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies inside. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is no address or network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| problem())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse::<IpAddr>().map_err(|_| problem())?.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width { Err(problem()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What the nearest trusted proxies say about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address: the rightmost one that is not a trusted proxy.
    pub client: IpAddr,
    /// The Host that the client sent, if a trusted proxy says so.
    pub host: Option<String>,
    /// Whether the client used https, if a trusted proxy says so.
    pub https: Option<bool>,
}

/// Which forwarding headers the proxies write. The other family is ignored: a proxy that appends to `X-Forwarded-For` passes a
/// client's own `Forwarded` through untouched, and the other way round, so believing both lets anybody choose their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// `X-Forwarded-For`, `-Host` and `-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies in front, and how they speak.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Peers whose forwarding headers count.
    pub trusted: Vec<Network>,
    /// The headers that they write.
    pub family: Family,
}

impl Proxies {
    /// Reads the forwarding headers of a request that came from `peer`.
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let peer = peer.to_canonical();
        let is_trusted = |address: IpAddr| self.trusted.iter().any(|network| network.contains(address));
        if !is_trusted(peer) {
            return Forwarded { client: peer, host: None, https: None };
        }
        match self.family {
            Family::Forwarded => rfc7239(peer, headers, is_trusted),
            Family::XForwarded => x_forwarded(peer, headers, is_trusted),
        }
    }
}

fn rfc7239(peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Forwarded {
    let mut result = Forwarded { client: peer, host: None, https: None };
    let text = joined(headers, "forwarded");
    for element in split_outside_quotes(&text, ',').into_iter().rev() {
        let mut from = None;
        for pair in split_outside_quotes(element, ';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = unquote(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => from = Some(value),
                "host" => result.host = Some(value),
                "proto" => result.https = Some(value.eq_ignore_ascii_case("https")),
                _ => {}
            }
        }
        // `for=unknown` and obfuscated names end what can be known.
        let Some(address) = from.as_deref().and_then(node_address) else { return result };
        result.client = address;
        if !is_trusted(address) {
            return result;
        }
    }
    result
}

fn x_forwarded(peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Forwarded {
    // The rightmost value is the one that the nearest proxy, which is trusted, has written.
    let last = |name| {
        joined(headers, name).rsplit(',').next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let mut result = Forwarded {
        client: peer,
        host: last("x-forwarded-host"),
        https: last("x-forwarded-proto").map(|scheme| scheme.eq_ignore_ascii_case("https")),
    };
    let text = joined(headers, "x-forwarded-for");
    for node in text.rsplit(',') {
        let Some(address) = node_address(node.trim()) else { break };
        result.client = address;
        if !is_trusted(address) {
            break;
        }
    }
    result
}

/// All lines of a header as one list: RFC 9110 §5.3 says they mean the same.
fn joined(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    lines.join(",")
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`, `2001:db8::1`.
fn node_address(node: &str) -> Option<IpAddr> {
    if let Some(inside) = node.strip_prefix('[') {
        return inside.split(']').next()?.parse().ok();
    }
    let address = node.parse().ok().or_else(|| node.rsplit_once(':')?.0.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (position, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..position]);
                start = position + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquote(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        text.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(family: Family) -> Proxies {
        Proxies { trusted: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()], family }
    }

    #[test]
    fn headers_of_strangers_are_claims_and_are_ignored() {
        let spoofed = headers(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=127.0.0.1;host=evil"),
        ]);
        for family in [Family::XForwarded, Family::Forwarded] {
            let seen = proxies(family).resolve(ip("192.0.2.9"), &spoofed);
            assert_eq!(seen, Forwarded { client: ip("192.0.2.9"), host: None, https: None });
        }
    }

    #[test]
    fn a_header_of_the_family_that_the_proxies_do_not_write_is_the_clients_and_is_ignored() {
        let both = headers(&[
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-host", "by-x.example"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=198.51.100.1;host=by-7239.example;proto=https"),
        ]);
        let seen = proxies(Family::XForwarded).resolve(ip("10.0.0.1"), &both);
        assert_eq!(
            (seen.client, seen.host.as_deref(), seen.https),
            (ip("203.0.113.7"), Some("by-x.example"), Some(false))
        );
        let seen = proxies(Family::Forwarded).resolve(ip("10.0.0.1"), &both);
        assert_eq!(
            (seen.client, seen.host.as_deref(), seen.https),
            (ip("198.51.100.1"), Some("by-7239.example"), Some(true))
        );
        let other = headers(&[("forwarded", "for=198.51.100.1;host=evil;proto=https")]);
        let nothing = Forwarded { client: ip("10.0.0.1"), host: None, https: None };
        assert_eq!(proxies(Family::XForwarded).resolve(ip("10.0.0.1"), &other), nothing);
        let other = headers(&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-host", "evil")]);
        assert_eq!(proxies(Family::Forwarded).resolve(ip("10.0.0.1"), &other), nothing);
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        let chain = headers(&[
            ("x-forwarded-for", "1.1.1.1, 203.0.113.7"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
        ]);
        let seen = proxies(Family::XForwarded).resolve(ip("10.0.0.1"), &chain);
        assert_eq!((seen.client, seen.https), (ip("203.0.113.7"), Some(true)), "1.1.1.1 is what the client claimed");
        let only_proxies = headers(&[("x-forwarded-for", "10.9.9.9, 10.0.0.2")]);
        assert_eq!(proxies(Family::XForwarded).resolve(ip("10.0.0.1"), &only_proxies).client, ip("10.9.9.9"));
        let broken = headers(&[("x-forwarded-for", "203.0.113.7, unknown, 10.0.0.2")]);
        assert_eq!(
            proxies(Family::XForwarded).resolve(ip("10.0.0.1"), &broken).client,
            ip("10.0.0.2"),
            "nothing left of `unknown` can be trusted"
        );
    }

    #[test]
    fn rfc_7239_forms() {
        let quoted = headers(&[(
            "forwarded",
            r#"for=1.1.1.1;host=evil, for="[2001:db8:cafe::17]:4711";proto=https;host="acme.example:8443", for=10.0.0.2"#,
        )]);
        let seen = proxies(Family::Forwarded).resolve(ip("::ffff:10.0.0.1"), &quoted);
        assert_eq!(seen.client, ip("2001:db8:cafe::17"));
        assert_eq!((seen.host.as_deref(), seen.https), (Some("acme.example:8443"), Some(true)));
        let comma_in_quotes = headers(&[("forwarded", r#"for="203.0.113.7";host="a,for=9.9.9.9""#)]);
        assert_eq!(proxies(Family::Forwarded).resolve(ip("10.0.0.1"), &comma_in_quotes).client, ip("203.0.113.7"));
    }

    #[test]
    fn networks_are_compared_by_prefix() {
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(ip("::ffff:9.9.9.9")));
        assert!("192.0.2.4".parse::<Network>().unwrap().contains(ip("192.0.2.4")));
        assert!(!"192.0.2.4".parse::<Network>().unwrap().contains(ip("192.0.2.5")));
        assert!("::/0".parse::<Network>().unwrap().contains(ip("2001:db8::1")));
        assert!(!"::/0".parse::<Network>().unwrap().contains(ip("9.9.9.9")));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/-1", "x", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}

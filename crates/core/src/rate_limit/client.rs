//! [`TrustedProxies`]: whose request it is, when it came by way of proxies.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use http::request::Parts;
use ipnet::{IpNet, Ipv6Net};

use crate::error::{Error, Result};

/// Where each proxy adds the address that it was called from.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// How many bits of an IPv6 address tell one client from another: people are given at least a whole
/// network of these (RFC 6177), and can use as many addresses in it as they like.
const IPV6_CLIENT_BITS: u8 = 64;

/// The proxies that are believed when they say, by `X-Forwarded-For`, from where they were called.
///
/// Anybody can send that header. So it is read from its end, where the nearest proxy has written, and
/// only as far as the addresses are those of trusted proxies: the client is the first one that is
/// not.
///
/// ```
/// use http::HeaderMap;
/// use larder_core::rate_limit::TrustedProxies;
///
/// let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8::7".parse()?;
/// let mut headers = HeaderMap::new();
/// let claimed = "198.51.100.9, 203.0.113.4, 10.1.2.3"; // the first one by the client itself
/// headers.insert("x-forwarded-for", claimed.parse().expect("a header"));
///
/// let client = proxies.client("10.0.0.1".parse().expect("an address"), &headers);
/// assert_eq!(client.to_string(), "203.0.113.4");
/// // Who is no proxy speaks for itself.
/// let stranger = "192.0.2.1".parse().expect("an address");
/// assert_eq!(proxies.client(stranger, &headers), stranger);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// Nobody: clients connect to the service itself.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxies in these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
        }
    }

    /// The address of who made a request that came over a connection from `peer`.
    ///
    /// An entry of the header that is no address (`unknown`, a name) ends the search: all who come by
    /// way of the proxy that wrote it are one client, which is that proxy.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        while self.trusts(client) {
            match hops.next().and_then(address) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client
    }

    /// A key for [`RateLimitLayer`](super::RateLimitLayer): the address of the client, or its network
    /// of 64 bits if it is IPv6. `peer` says from where a connection comes, as the server tells it:
    /// of axum, `ConnectInfo`. Requests of which it does not know share one key.
    pub fn key_by(
        self,
        peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> impl Fn(&Parts) -> Option<String> + Send + Sync + 'static {
        move |request| {
            Some(match peer(request) {
                Some(peer) => client_key(self.client(peer, &request.headers)),
                None => "unknown".to_owned(),
            })
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|one| one.contains(&address))
    }
}

/// Networks (`10.0.0.0/8`) and addresses, with commas between them; nobody if the text is empty.
impl FromStr for TrustedProxies {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let entries = text.split(',').map(str::trim);
        let networks = entries.filter(|one| !one.is_empty()).map(network);
        Ok(Self::new(networks.collect::<Result<Vec<_>>>()?))
    }
}

fn network(text: &str) -> Result<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(address).ok_or_else(|| {
        Error::invalid("a trusted proxy is an address or a network, such as 10.0.0.0/8")
            .with_value(text)
    })
}

/// An entry of the header: an address, which some proxies write with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(entry.parse::<std::net::SocketAddr>().ok()?.ip());
    let address = entry.parse().ok().or_else(with_port).or_else(bare)?;
    Some(IpAddr::to_canonical(&address))
}

/// What is counted under: an IPv4 address, or the network of an IPv6 one.
fn client_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => network_of(address).to_string(),
    }
}

fn network_of(address: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new_assert(address, IPV6_CLIENT_BITS).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_counts() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &["10.0.0.1"][..], "192.0.2.1"), // forged
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1", "192.0.2.1,10.9.9.9"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9"), // a client inside
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("2001:db8::1", &["2003::5"], "2003::5"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for entry in ["unknown", "", "1.2.3", "192.0.2.1 10.0.0.1", "1.1.1.1,_x"] {
            assert_eq!(client("10.0.0.1", &[entry]), "10.0.0.1", "{entry}");
        }
    }

    #[test]
    fn ports_are_left_out() {
        assert_eq!(client("10.0.0.1", &["192.0.2.1:443"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["[2003::5]:443"]), "2003::5");
        assert_eq!(client("10.0.0.1", &["[2003::5]"]), "2003::5");
    }

    #[test]
    fn who_has_a_network_of_ipv6_is_one_client() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("2003:1:2:3:4::5"), "2003:1:2:3::/64");
        assert_eq!(key("2003:1:2:3:ffff::1"), key("2003:1:2:3::"));
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn lists_are_read_whole_or_refused() {
        assert!("10.0.0.0/8, ::1".parse::<TrustedProxies>().is_ok());
        assert!("".parse::<TrustedProxies>().is_ok());
        for wrong in ["10.0.0.0/33", "proxy", "10.0.0.1 10.0.0.2"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
    }
}

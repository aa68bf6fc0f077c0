//! Who may speak to the service at all: the check of `Host` and `Origin` that every request passes first.
//!
//! A web page can make a browser send requests to 127.0.0.1, and with a name of its own that resolves there (DNS
//! rebinding) it can read the answers. Neither has our address as `Host` and one of our origins as `Origin`. Names are
//! compared as whole texts against a fixed list, never parsed: what is not on the list is not us.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::http::problem::{Failure, Kind};

/// The names that the service answers to and the origins whose pages may call it.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    hosts: HashSet<String>,
    origins: HashSet<String>,
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Origins {
    /// Returns the loopback's names with the port of `address`, and what the settings add: hosts as `name` (with that port
    /// or none) or `name:port`, origins as `scheme://name[:port]`.
    #[must_use]
    pub(crate) fn new(address: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let port = address.port();
        let mut own: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        match address.ip() {
            ip if ip.is_unspecified() => {}
            IpAddr::V4(ip) => own.push(ip.to_string()),
            IpAddr::V6(ip) => own.push(format!("[{ip}]")),
        }
        let mut known = Self { hosts: HashSet::new(), origins: HashSet::new() };
        for name in own {
            if port == 80 {
                known.origins.insert(format!("http://{name}"));
                known.hosts.insert(name.clone());
            }
            known.origins.insert(format!("http://{name}:{port}"));
            known.hosts.insert(format!("{name}:{port}"));
        }
        for host in hosts {
            let host = host.to_ascii_lowercase();
            known.hosts.insert(format!("{host}:{port}"));
            known.hosts.insert(host);
        }
        known.origins.extend(origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()));
        known
    }

    /// Lets a request pass that names us as its host and does not come from a foreign page.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Failure::new(Kind::Forbidden, "bad_host", "a request has exactly one Host header"));
        };
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        if !known(&self.hosts, host.as_bytes()) || authority.is_some_and(|text| !known(&self.hosts, text)) {
            return Err(Failure::new(Kind::Forbidden, "bad_host", "the Host header names another service").hinted(
                "use the address that the service listens on, or start it with this name among its allowed hosts",
            ));
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => {}
            (Some(origin), None) if known(&self.origins, origin.as_bytes()) => return Ok(()),
            _ => {
                return Err(Failure::new(
                    Kind::Forbidden,
                    "bad_origin",
                    "pages of this origin may not call the service",
                )
                .hinted("start the service with this origin among its allowed origins"));
            }
        }
        // Browsers leave Origin out of simple GETs, but say that another site asked.
        match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => {
                Err(Failure::new(Kind::Forbidden, "bad_origin", "pages of other sites may not call the service"))
            }
        }
    }
}

fn known(names: &HashSet<String>, text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| names.contains(text) || names.contains(&text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checked(headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let listen = "127.0.0.1:7777".parse().unwrap();
        let origins = Origins::new(listen, &["box.test".into(), "x.test:81".into()], &["https://ui.test/".into()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        origins.check(&Uri::from_static("/v1/sandboxes"), &map).map_err(|failure| failure.code())
    }

    #[test]
    fn our_names_pass() {
        for host in [
            "127.0.0.1:7777",
            "localhost:7777",
            "LocalHost:7777",
            "[::1]:7777",
            "box.test",
            "box.test:7777",
            "x.test:81",
        ] {
            assert_eq!(checked(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        let hosts = [
            "",
            "evil.com",
            "evil.com:7777",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "127.0.0.1.nip.io:7777",
            "localhost.evil.com:7777",
            "evil.com@127.0.0.1:7777",
            "127.0.0.1:7777.evil.com",
            "127.1:7777",
            "0.0.0.0:7777",
            "localhost.:7777",
            "[::ffff:127.0.0.1]:7777",
            "127.0.0.1:07777",
            " 127.0.0.1:7777",
            "127.0.0.1:7777,evil.com",
            "2130706433:7777",
            "\u{212a}ocalhost:7777",
        ];
        for host in hosts {
            assert_eq!(checked(&[("host", host)]), Err("bad_host"), "{host}");
        }
        assert_eq!(checked(&[]), Err("bad_host"));
        assert_eq!(checked(&[("host", "localhost:7777"), ("host", "localhost:7777")]), Err("bad_host"));
    }

    #[test]
    fn the_target_must_name_us_too() {
        let origins = Origins::new("127.0.0.1:7777".parse().unwrap(), &[], &[]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:7777"));
        assert!(origins.check(&Uri::from_static("http://evil.com/"), &headers).is_err());
        assert!(origins.check(&Uri::from_static("http://127.0.0.1:7777/"), &headers).is_ok());
    }

    #[test]
    fn foreign_pages_are_refused() {
        let host = ("host", "localhost:7777");
        for origin in [
            "https://evil.com",
            "null",
            "",
            "http://localhost:7778",
            "https://localhost:7777",
            "http://localhost",
            "file://",
            "https://ui.test.evil.com",
        ] {
            assert_eq!(checked(&[host, ("origin", origin)]), Err("bad_origin"), "{origin}");
        }
        for origin in ["http://localhost:7777", "http://127.0.0.1:7777", "https://ui.test", "https://UI.test"] {
            assert_eq!(checked(&[host, ("origin", origin), ("sec-fetch-site", "cross-site")]), Ok(()), "{origin}");
        }
        let twice = [host, ("origin", "http://localhost:7777"), ("origin", "http://localhost:7777")];
        assert_eq!(checked(&twice), Err("bad_origin"));
        assert_eq!(checked(&[host, ("sec-fetch-site", "cross-site")]), Err("bad_origin"));
        assert_eq!(checked(&[host, ("sec-fetch-site", "same-site")]), Err("bad_origin"));
        assert_eq!(checked(&[host, ("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn listening_everywhere_allows_no_further_name() {
        let origins = Origins::new("0.0.0.0:7777".parse().unwrap(), &[], &[]);
        assert!(!origins.hosts.contains("0.0.0.0:7777"));
        assert_eq!(origins.hosts.len(), 3);
    }

    proptest! {
        #[test]
        fn nothing_else_passes(host in "[ -~]{0,40}") {
            let ours = ["127.0.0.1:7777", "localhost:7777", "[::1]:7777", "box.test", "box.test:7777", "x.test:81", "x.test:81:7777"];
            prop_assume!(!ours.contains(&host.to_ascii_lowercase().as_str()));
            prop_assert!(checked(&[("host", &host)]).is_err());
        }
    }
}

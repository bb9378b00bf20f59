//! Which names in `Host` the page accepts.
//!
//! With DNS rebinding, another site points its name at this server after the browser has loaded the site's page. The browser then
//! takes both for the same origin. The request still has the name of that site in `Host`, which no script can change.

use ::http::header::HOST;
use ::http::request::Parts;

/// The names that were allowed beside IP addresses and `localhost`, in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn allow(&mut self, host: &str) {
        self.0.push(name(host).to_ascii_lowercase());
    }

    /// Whether all host names of the request are allowed. A request without any passes: it is not from a browser.
    pub(super) fn allow_all_of(&self, parts: &Parts) -> bool {
        let in_address = parts.uri.authority().map(|authority| self.allows(authority.as_str()));
        let in_headers =
            parts.headers.get_all(HOST).iter().map(|host| host.to_str().is_ok_and(|host| self.allows(host)));
        in_headers.chain(in_address).all(|is_allowed| is_allowed)
    }

    fn allows(&self, host: &str) -> bool {
        let name = name(host);
        let is_local = |name: &str| {
            let last = name.rsplit('.').next().unwrap_or_default();
            last.eq_ignore_ascii_case("localhost")
        };
        is_address(name) || is_local(name) || self.0.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
    }
}

/// The host without its port and without a trailing dot.
fn name(host: &str) -> &str {
    let end = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => colon,
        _ => host.len(),
    };
    let name = &host[..end];
    name.strip_suffix('.').unwrap_or(name)
}

/// IP addresses are always allowed: DNS rebinding needs a name.
fn is_address(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_allowed_names_pass() {
        let mut hosts = Hosts::default();
        hosts.allow("Ops.Example:8443");
        let allowed = [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "10.0.0.7:1",
            "localhost",
            "LOCALHOST:8080",
            "payments.localhost",
            "localhost.",
            "ops.example",
            "OPS.example:1",
            "ops.example.",
        ];
        for host in allowed {
            assert!(hosts.allows(host), "{host}");
        }
        let others = [
            "evil.example",
            "evil.example:8080",
            "xops.example",
            "ops.example.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "localhost.evil.example",
            "notlocalhost",
            "[::1",
            "[evil]",
            "::1",
            "",
            ":8080",
            "ops.example@evil.example",
        ];
        for host in others {
            assert!(!hosts.allows(host), "{host}");
        }
    }
}

//! Addresses of servers: what a person may write, and what may be sent there.

use std::net::IpAddr;

use reqwest::Url;

/// Complains about a `url` that cannot be used, or over which a token would be seen by others.
pub fn check(url: &str, has_token: bool, allow_http: bool) -> Result<(), String> {
    let address = parse(url).map_err(|why| format!("url = \"{}\": {why}", shown(url)))?;
    if has_token && !allow_http && !is_private(&address) {
        return Err(format!(
            "url = \"{}\": anyone in between would see the token: use https, or say \
             allow_http = true",
            shown(url)
        ));
    }
    Ok(())
}

pub fn parse(url: &str) -> Result<Url, String> {
    let address = Url::parse(url).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(address.scheme(), "http" | "https") {
        return Err("begins with neither https:// nor http://".to_owned());
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err("has credentials in it: give them by token_file or token_env".to_owned());
    }
    Ok(address)
}

/// Without what may be secret: user, password, query.
pub fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut address) if matches!(address.scheme(), "http" | "https") => {
            address.set_query(None);
            address.set_fragment(None);
            // These fail only where there can be none.
            let _ = address.set_username("");
            let _ = address.set_password(None);
            address.to_string()
        }
        // Nobody knows what of it is a password.
        _ if url.contains(['@', '?']) => "...".to_owned(),
        _ => url.to_owned(),
    }
}

/// `base` and `path` put together, with `query` encoded.
pub fn join(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let mut url = format!("{}{path}", base.trim_end_matches('/'));
    for (at, (name, value)) in query.iter().enumerate() {
        url.push(if at == 0 && !path.contains('?') {
            '?'
        } else {
            '&'
        });
        url.push_str(&encode(name));
        url.push('=');
        url.push_str(&encode(value));
    }
    url
}

/// As one segment of a path, or one word of a query (RFC 3986, 2.3: the rest is encoded).
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Whether nobody in between can read what is sent: TLS, or it does not leave this machine.
pub fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme() == "https"
        || host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_out_in_the_clear_only_when_that_was_said() {
        for url in [
            "https://ci.example.com",
            "http://127.0.0.1:8080/ci",
            "http://[::1]:8080",
            "http://localhost",
            "http://ci.localhost",
        ] {
            assert_eq!(check(url, true, false), Ok(()), "{url}");
        }
        let url = "http://10.0.0.7:8000";
        assert_eq!(check(url, false, false), Ok(()));
        assert_eq!(check(url, true, true), Ok(()));
        let said = check(url, true, false).expect_err("refused");
        assert!(said.contains("allow_http = true"), "{said}");
        assert!(check("http://127.0.0.1.example.com", true, false).is_err());
        assert!(check("http://notlocalhost", true, false).is_err());
    }

    #[test]
    fn what_is_no_address_is_told_without_its_secrets() {
        for url in [
            "",
            "ci.example.com",
            "ftp://ci.example.com",
            "https://",
            "https://user:hush@ci.example.com/",
            "user:hush@ci.example.com",
            "://user:hush@ci.example.com?token=hush",
            "ftp://ci.example.com/?token=hush",
        ] {
            let said = check(url, true, true).expect_err(url);
            assert!(said.starts_with("url = \""), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        type Query<'a> = &'a [(&'a str, &'a str)];
        let table: [(&str, &str, Query<'_>, &str); 4] = [
            ("https://a/", "/b", &[], "https://a/b"),
            (
                "https://a",
                "/b",
                &[("c", "d/é f&")],
                "https://a/b?c=d%2F%C3%A9%20f%26",
            ),
            (
                "https://a/ci/",
                "/b?x=1",
                &[("y", "2")],
                "https://a/ci/b?x=1&y=2",
            ),
            (
                "https://a",
                "/b",
                &[("s[]", "1"), ("t", "")],
                "https://a/b?s%5B%5D=1&t=",
            ),
        ];
        for (base, path, query, expected) in table {
            assert_eq!(join(base, path, query), expected);
            assert!(parse(expected).is_ok());
        }
    }
}

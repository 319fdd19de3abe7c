//! Whom we trust: the system's roots, or Mozilla's, compiled in, where the system has none (an
//! image made `FROM scratch`). And clients that need no roots at all.

#[cfg(feature = "aws")]
mod sdk;

#[cfg(feature = "aws")]
pub use sdk::http_client;

/// The beginning of every client that speaks plain HTTP to this machine or its neighbours. It
/// reads no certificate, so that it costs nothing and works where there are none.
pub fn plain_client() -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder();
    // With TLS compiled in, reqwest would load the system's roots whether they are needed or not.
    #[cfg(feature = "poll")]
    let client = client.tls_certs_only([]);
    client
}

/// The trusted roots, for a client of reqwest's. Reads them: about 2 ms with a usual system's.
///
/// A certificate that cannot be read is left out, and told in the log. `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` are OpenSSL's: they replace the system's.
#[cfg(feature = "poll")]
pub fn certificates() -> Vec<reqwest::Certificate> {
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "tls.root_unreadable");
    }
    let mut roots = readable(native.certs.iter().map(|der| der.as_ref()));
    if roots.is_empty() {
        tracing::info!("tls.embedded_roots: this system has no certificates of its own");
        roots = readable(
            webpki_root_certs::TLS_SERVER_ROOT_CERTS
                .iter()
                .map(|der| der.as_ref()),
        );
    }
    roots
}

#[cfg(feature = "poll")]
fn readable<'a>(ders: impl Iterator<Item = &'a [u8]>) -> Vec<reqwest::Certificate> {
    ders.filter_map(|der| reqwest::Certificate::from_der(der).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_client_is_built_without_any_certificate() {
        plain_client().build().expect("built");
    }

    #[cfg(feature = "poll")]
    #[test]
    fn there_are_always_roots_to_trust() {
        let roots = certificates();
        assert!(!roots.is_empty());
        reqwest::Client::builder()
            .tls_certs_only(roots)
            .build()
            .expect("all of them are accepted");
    }

    #[cfg(feature = "poll")]
    #[test]
    fn every_embedded_root_is_accepted() {
        let embedded = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        let roots = readable(embedded.iter().map(|der| der.as_ref()));
        assert_eq!(roots.len(), embedded.len());
        reqwest::Client::builder()
            .tls_certs_only(roots)
            .build()
            .expect("built");
    }
}

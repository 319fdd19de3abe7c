//! One HTTPS client for all services of the AWS SDK: rustls with aws-lc.

use std::path::Path;

use aws_sdk_ec2::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use tracing::info;

/// Where distributions keep their bundle; OpenSSL's variables come first.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs",
];

/// Reads the roots: about 2 ms with a usual system's.
pub fn http_client() -> SharedHttpClient {
    let mut roots = TrustStore::empty();
    if system_has_roots() {
        roots = roots.with_native_roots(true);
    } else {
        info!("tls.embedded_roots: this system has no certificates of its own");
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            roots.add_pem_certificate(pem(root));
        }
    }
    let context = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .expect("a trust store is a valid context");
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https()
}

fn system_has_roots() -> bool {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|path| has_certificates(Path::new(&path))));
    named || BUNDLES.iter().any(|path| has_certificates(Path::new(path)))
}

/// A file that begins a certificate, or a directory that is not empty.
fn has_certificates(path: &Path) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let mark = b"-----BEGIN ";
    std::fs::read(path).is_ok_and(|text| text.windows(mark.len()).any(|at| at == mark))
}

/// The trust store takes PEM only (RFC 7468).
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 bytes make a line of 64 digits.
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bytes = [0, 1, 2].map(|at| u32::from(three.get(at).copied().unwrap_or(0)));
            let bits = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
            for digit in 0..4 {
                if digit <= three.len() {
                    let value = bits >> (18 - 6 * digit) & 63;
                    text.push(char::from(DIGITS[value as usize]));
                } else {
                    text.push('=');
                }
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_base64_in_short_lines() {
        let body = |der: &[u8]| pem(der).lines().nth(1).unwrap_or_default().to_owned();
        assert_eq!(body(b"Man"), "TWFu");
        assert_eq!(body(b"Ma"), "TWE=");
        assert_eq!(body(b"M"), "TQ==");
        assert!(pem(&[0xfb; 100]).lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn every_embedded_root_is_accepted() {
        let mut roots = TrustStore::empty();
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            roots.add_pem_certificate(pem(root));
        }
        let context = TlsContext::builder()
            .with_trust_store(roots)
            .build()
            .expect("built");
        // Panics at the first that does not parse.
        let _client = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context)
            .build_https();
    }

    #[test]
    fn an_empty_bundle_is_no_bundle() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        assert!(!has_certificates(dir.path()));
        assert!(!has_certificates(&file));
        std::fs::write(&file, "# none\n").expect("written");
        assert!(!has_certificates(&file));
        std::fs::write(&file, pem(b"x")).expect("written");
        assert!(has_certificates(&file) && has_certificates(dir.path()));
    }
}

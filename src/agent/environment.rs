//! What an agent, and with it every job, may know of the supervisor's environment.

use std::ffi::OsStr;

/// clockout's own identity towards AWS, and where it finds AWS. The region stays.
const AWS: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
];

/// systemd's talk with its service: a job must not notify, nor take our sockets.
const SYSTEMD: [&str; 4] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

const PREFIXES: [&str; 5] = [
    "CLOCKOUT_",
    "AWS_CONTAINER_CREDENTIALS_",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_ENDPOINT_URL",
    "WATCHDOG_",
];

/// Whether this variable is kept from agents.
pub fn is_private(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let is_name = |private: &&str| private.as_bytes() == name;
    AWS.iter().chain(&SYSTEMD).any(is_name)
        || PREFIXES.iter().any(|p| name.starts_with(p.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_configuration_are_private_and_the_region_is_not() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL_AUTO_SCALING",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "CLOCKOUT_CONFIG",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
        ] {
            assert!(is_private(OsStr::new(name)), "{name}");
        }
        for name in [
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "PATH",
            "BUILDKITE_AGENT_TOKEN",
        ] {
            assert!(!is_private(OsStr::new(name)), "{name}");
        }
    }
}

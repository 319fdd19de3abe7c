//! HTTP to CI servers.

/// One client for all of them.
#[derive(Debug, Clone)]
pub struct Http;

//! A port of its own for each agent process that wants one.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port of the loopback interface on which nobody listens, other than `taken`: those may be
/// promised to agents that have not begun to listen.
///
/// Until its agent listens, somebody else may take it: then the agent says so, and is started
/// again with another.
pub fn free_port(taken: &[u16]) -> io::Result<u16> {
    // Held until one is found, so that the kernel offers each only once.
    let mut refused = Vec::new();
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        if !taken.contains(&port) {
            return Ok(port);
        }
        refused.push(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens_on_it_and_nobody_was_promised_it() {
        let first = free_port(&[]).unwrap();
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let mut taken = vec![first];
        for _ in 0..100 {
            let port = free_port(&taken).unwrap();
            assert!(port != 0 && !taken.contains(&port));
            taken.push(port);
        }
    }
}

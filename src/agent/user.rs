//! The user that agents run as (`--user`).

use std::ffi::{CString, OsString};

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid, geteuid};

use crate::sys::Credentials;

/// A user of this machine, looked up once.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
    /// All groups, the primary one included.
    pub groups: Vec<Gid>,
    pub home: OsString,
    pub shell: OsString,
}

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("there is no user '{0}' on this machine: create it, or name another with --user")]
    Unknown(String),
    #[error("cannot look up user '{name}': {source}")]
    Lookup { name: String, source: Errno },
}

impl User {
    pub fn lookup(name: &str) -> Result<User, UserError> {
        let unknown = || UserError::Unknown(name.to_owned());
        let failed = |source| UserError::Lookup {
            name: name.to_owned(),
            source,
        };
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let found = match unistd::User::from_name(name) {
            Ok(found) => found.ok_or_else(unknown)?,
            // What getpwnam says of an unknown user differs; without any /etc/passwd it is ENOENT.
            Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => {
                return Err(unknown());
            }
            Err(source) => return Err(failed(source)),
        };
        Ok(User {
            groups: unistd::getgrouplist(&c_name, found.gid).map_err(failed)?,
            name: found.name,
            uid: found.uid,
            gid: found.gid,
            home: found.dir.into(),
            shell: found.shell.into(),
        })
    }

    /// What a child must change to become this user; nothing when we are it and could not.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let own = geteuid();
        (own.is_root() || own != self.uid).then(|| Credentials {
            uid: self.uid,
            gid: self.gid,
            groups: self.groups.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_user_is_named() {
        let error = User::lookup("no-such-user-here").unwrap_err();
        assert!(matches!(error, UserError::Unknown(_)));
        assert!(error.to_string().contains("'no-such-user-here'"));
        assert!(matches!(User::lookup("a\0b"), Err(UserError::Unknown(_))));
    }

    #[test]
    fn root_is_found_with_its_groups() {
        let root = User::lookup("root").unwrap();
        assert!(root.uid.is_root());
        assert!(root.groups.contains(&root.gid));
    }
}

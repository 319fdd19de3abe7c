//! Credentials: where they are, and what they are right now.
//!
//! They are read anew for each round, so that a rotated token needs no restart: a file of a few
//! bytes costs less than to find out whether it has changed. systemd's `LoadCredential=` and
//! Kubernetes' secrets are files.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::source::SourceError;

/// No token is longer: whoever names a log file by mistake is told so.
const LONGEST: u64 = 64 * 1024;

/// A text that nobody may see: it is neither shown nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// For where it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `user:password`, taken apart at the first colon.
    pub fn user_and_password(&self) -> Option<(&str, Secret)> {
        let (user, password) = self.0.split_once(':')?;
        Some((user, Secret(password.to_owned())))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where a token is; shown as that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    File(PathBuf),
    /// The name of an environment variable.
    Variable(String),
}

impl Token {
    /// From the keys `token_file` and `token_env`; `None` when neither is given.
    pub fn new(file: Option<&Path>, variable: Option<&str>) -> Option<Token> {
        match (file, variable) {
            (Some(file), _) => Some(Token::File(file.to_owned())),
            (None, Some(name)) => Some(Token::Variable(name.to_owned())),
            (None, None) => None,
        }
    }

    /// Complains about the keys `token_file` and `token_env` of a source that needs exactly one.
    pub fn check(file: Option<&Path>, variable: Option<&str>) -> Result<(), String> {
        Token::check_optional(file, variable)?;
        if file.is_none() && variable.is_none() {
            return Err("give 'token_file' or 'token_env'".to_owned());
        }
        Ok(())
    }

    /// As [`Token::check`], for a source that may do without.
    pub fn check_optional(file: Option<&Path>, variable: Option<&str>) -> Result<(), String> {
        match (file, variable) {
            (Some(_), Some(_)) => Err("give one of 'token_file' and 'token_env'".to_owned()),
            (Some(file), None) if !file.is_absolute() => Err(format!(
                "token_file = \"{}\": give the whole path",
                file.display()
            )),
            (None, Some(name)) if name.is_empty() || name.contains(['=', '\0']) => {
                Err("token_env: give the name of an environment variable".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What it is now, without the white space around it.
    pub fn read(&self) -> Result<Secret, SourceError> {
        let text = match self {
            Token::File(path) => read_file(path).map_err(|why| format!("{self} {why}")),
            Token::Variable(name) => match std::env::var(name) {
                Ok(text) => Ok(text),
                Err(std::env::VarError::NotPresent) => Err(format!("{self} is not set")),
                Err(std::env::VarError::NotUnicode(_)) => Err(format!("{self} is no text")),
            },
        };
        let text = text.map_err(|why| SourceError::Denied(format!("no token: {why}")))?;
        match text.trim() {
            "" => Err(SourceError::Denied(format!("no token: {self} is empty"))),
            token => Ok(Secret(token.to_owned())),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::File(path) => write!(f, "file {}", path.display()),
            Token::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

/// The text, or why there is none, after "file PATH ".
fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => "is no text".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Looked at before it is opened: to open a pipe would wait for its writer.
    let found = std::fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    if read.map_err(cannot)? as u64 > LONGEST {
        return Err("is too long for a token".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Token {
        Token::new(Some(path), None).expect("a place")
    }

    #[test]
    fn a_token_that_is_rotated_is_read_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").expect("written");
        let token = at(&path);
        assert_eq!(token.read().expect("read").expose(), "first");
        // The same length, within the same tick of the file system's clock.
        std::fs::write(&path, " other\t\n").expect("written");
        assert_eq!(token.read().expect("read").expose(), "other");
        let new = dir.path().join("new");
        std::fs::write(&new, "third").expect("written");
        std::fs::rename(&new, &path).expect("renamed");
        assert_eq!(token.read().expect("read").expose(), "third");
    }

    #[test]
    fn what_is_no_token_is_an_error_that_names_the_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        };
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("made");
        let table = [
            (dir.path().join("none"), "cannot be read: No such file"),
            (dir.path().to_owned(), "is no file"),
            (pipe, "is no file"),
            (file("empty", b""), "is empty"),
            (file("blank", b" \n\n"), "is empty"),
            (file("binary", b"\xff\xfe"), "is no text"),
            (file("log", &[b'x'; 70_000]), "is too long for a token"),
        ];
        for (path, expected) in table {
            let said = at(&path).read().expect_err("refused").to_string();
            let start = format!("no token: file {} {expected}", path.display());
            assert!(said.starts_with(&start), "{said}");
        }
        let variable = Token::new(None, Some("CLOCKOUT_TEST_NOT_SET")).expect("a place");
        assert_eq!(
            variable.read().expect_err("refused").to_string(),
            "no token: variable CLOCKOUT_TEST_NOT_SET is not set"
        );
    }

    #[test]
    fn a_variable_is_a_place_too() {
        // Cargo sets it for every test.
        let token = Token::new(None, Some("CARGO_PKG_NAME")).expect("a place");
        assert_eq!(token.read().expect("read").expose(), "clockout");
    }

    #[test]
    fn exactly_one_whole_place_is_asked_for() {
        let file = Some(Path::new("/etc/token"));
        let table = [
            (file, None, Ok(())),
            (None, Some("TOKEN"), Ok(())),
            (
                file,
                Some("TOKEN"),
                Err("give one of 'token_file' and 'token_env'"),
            ),
            (None, None, Err("give 'token_file' or 'token_env'")),
            (
                Some(Path::new("token")),
                None,
                Err("token_file = \"token\": give the whole path"),
            ),
            (
                None,
                Some(""),
                Err("token_env: give the name of an environment variable"),
            ),
        ];
        for (file, variable, expected) in table {
            assert_eq!(
                Token::check(file, variable),
                expected.map_err(str::to_owned)
            );
        }
        assert_eq!(Token::check_optional(None, None), Ok(()));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::from("me:hush".to_owned());
        assert_eq!(format!("{secret:?}"), "<secret>");
        let (user, password) = secret.user_and_password().expect("both");
        assert_eq!((user, password.expose()), ("me", "hush"));
        assert_eq!(format!("{password:?}"), "<secret>");
    }
}

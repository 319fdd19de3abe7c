//! Steps and calls of a preset, filled for one agent process. What is filled may be secret.

use std::ffi::OsString;
use std::fmt;

use super::cordon::{Cordon, HttpCall};
use super::detect::Auth;
use super::drain::Step;
use super::launch::Launch;
use super::template::{Missing, Place, Template, Wanted};

/// Who asks, with secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Basic { user: String, password: String },
    Bearer(String),
}

/// A call to the CI server, ready to be made.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: reqwest::Method,
    /// It may hold a secret: for a log, show the [`HttpCall`]'s.
    pub url: String,
    pub auth: Option<Credentials>,
    pub json: Option<serde_json::Value>,
    /// Empty: 2xx.
    pub accept_status: Vec<u16>,
}

impl Call {
    /// Whether this answer says that it was done.
    pub fn accepts(&self, status: reqwest::StatusCode) -> bool {
        if self.accept_status.is_empty() {
            status.is_success()
        } else {
            self.accept_status.contains(&status.as_u16())
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Basic(..)",
            Credentials::Bearer(_) => "Bearer(..)",
        })
    }
}

impl Launch {
    /// The cordon's parts are all known.
    pub fn has_cordon(&self) -> bool {
        self.cordon_missing().is_none() && self.preset.drain.cordon.is_some()
    }

    /// What keeps the cordon from being used.
    pub(super) fn cordon_missing(&self) -> Option<Missing> {
        match self.preset.drain.cordon.as_ref()? {
            Cordon::Command(words) => self.words(words, 0).err(),
            Cordon::Http(call) => self.call(call).err(),
        }
    }

    /// A command's words for the agent's main process. They may hold secrets: for a log, show the
    /// templates.
    pub fn words(&self, words: &[Template], pid: i32) -> Result<Vec<OsString>, Missing> {
        let known = |wanted: Wanted<'_>| match wanted {
            Wanted::Place(Place::Pid) => Some(pid.to_string().into()),
            other => self.view.place(other),
        };
        words.iter().map(|word| word.fill(&known)).collect()
    }

    /// A call with its places filled.
    pub fn call(&self, call: &HttpCall) -> Result<Call, Missing> {
        let auth = call.auth.as_ref().map(|auth| self.credentials(auth));
        Ok(Call {
            method: call.method.clone(),
            url: self.text(&call.url)?,
            auth: auth.transpose()?,
            json: call.json.clone(),
            accept_status: call.accept_status.clone(),
        })
    }

    pub(super) fn credentials(&self, auth: &Auth) -> Result<Credentials, Missing> {
        Ok(match auth {
            Auth::Basic { user, password } => Credentials::Basic {
                user: self.text(user)?,
                password: self.text(password)?,
            },
            Auth::Bearer(token) => Credentials::Bearer(self.text(token)?),
        })
    }

    pub(super) fn text(&self, template: &Template) -> Result<String, Missing> {
        let filled = template.fill(&|wanted| self.view.place(wanted))?;
        Ok(filled.to_string_lossy().into_owned())
    }

    /// A step that could not be done when its time comes.
    pub(super) fn impossible_step(&self) -> Option<String> {
        let drain = &self.preset.drain;
        let otherwise = drain.otherwise.as_ref().map(|otherwise| &otherwise.step);
        let cancel = self.preset.cancel.as_ref().map(|cancel| &cancel.step);
        let steps = [
            ("drain", Some(&drain.step)),
            ("drain.otherwise", otherwise),
            ("cancel", cancel),
        ];
        steps.into_iter().find_map(|(table, step)| match step? {
            Step::Signal(_) => None,
            Step::Command(words) => {
                let missing = self.words(words, 0).err()?;
                Some(format!("[{table}] command: {missing}"))
            }
        })
    }
}

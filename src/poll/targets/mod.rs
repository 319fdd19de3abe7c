//! What can be made larger. A new kind is a module and a line in [`kinds`].

#[cfg(feature = "aws")]
mod asg;
mod exec;
mod process;

use serde::Deserialize;

use super::plan::{BackendId, Place};
use super::target::{self, Target};

pub use process::{GroupDir, Occupied, report};

/// Declares the `kind`s of `target = { kind = "..." }`, each a module's `Spec`.
macro_rules! kinds {
    ($($(#[$attribute:meta])* $module:ident: $variant:ident = $kind:literal),* $(,)?) => {
        /// A `target` table of the configuration, of any kind.
        #[derive(Debug, Clone, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Spec {
            $($(#[$attribute])* #[serde(rename = $kind)] $variant($module::Spec),)*
        }

        impl Spec {
            pub fn kind(&self) -> &'static str {
                match *self {
                    $($(#[$attribute])* Spec::$variant(_) => $kind,)*
                }
            }

            fn as_dyn(&self) -> &dyn target::Spec {
                match *self {
                    $($(#[$attribute])* Spec::$variant(ref spec) => spec,)*
                }
            }

            fn as_dyn_mut(&mut self) -> &mut dyn target::Spec {
                match *self {
                    $($(#[$attribute])* Spec::$variant(ref mut spec) => spec,)*
                }
            }
        }
    };
}

#[cfg(feature = "aws")]
pub use asg::Launch;

kinds! {
    #[cfg(feature = "aws")]
    asg: Asg = "asg",
    exec: Exec = "exec",
    process: Process = "process",
}

impl target::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        self.as_dyn().check()
    }

    fn backend(&self) -> BackendId {
        self.as_dyn().backend()
    }

    fn place(&self) -> Place {
        self.as_dyn().place()
    }

    fn fill(&mut self, place: &Place) {
        self.as_dyn_mut().fill(place);
    }

    fn open(&self) -> Box<dyn Target> {
        self.as_dyn().open()
    }
}

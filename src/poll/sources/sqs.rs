//! An SQS queue with one message a job: those that are visible wait, those that are in flight run.
//! Delayed ones do neither yet.
//!
//! The figures are approximate, and right about a minute after the last change:
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>.

#[cfg(feature = "aws")]
mod client;

use serde::Deserialize;

use crate::poll::http::Http;
use crate::poll::plan::Queue;
use crate::poll::source::{self, Source};

/// One queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The queue's address: `https://sqs.us-east-1.amazonaws.com/123456789012/jobs`.
    queue_url: Option<String>,
    /// Instead: the name of one of the account's own queues.
    name: Option<String>,
    /// Its region; else the one in `queue_url`, `AWS_REGION`, the profile's, or this instance's.
    region: Option<String>,
}

impl Spec {
    /// Where it is, as far as the file says.
    pub fn region(&self) -> Option<&str> {
        let of_url = || region(self.queue_url.as_deref()?);
        self.region.as_deref().or_else(of_url)
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        if cfg!(not(feature = "aws")) {
            return Err("kind = \"sqs\": this build has no AWS in it".to_owned());
        }
        match (&self.queue_url, &self.name) {
            (Some(url), None) => match is_address(url) {
                true => Ok(()),
                false => Err(format!(
                    "queue_url = \"{url}\": begins with neither https:// nor http://"
                )),
            },
            (None, Some(name)) if name.is_empty() || is_address(name) => Err(format!(
                "name = \"{name}\": give a queue's name, or 'queue_url'"
            )),
            (None, Some(_)) => Ok(()),
            (None, None) | (Some(_), Some(_)) => Err("give 'queue_url' or 'name'".to_owned()),
        }
    }

    /// The tag has the queue's name or address.
    fn fill(&mut self, tag: &str) {
        let tag = Some(tag.to_owned());
        (self.queue_url, self.name) = match tag.as_deref().is_some_and(is_address) {
            true => (tag, None),
            false => (None, tag),
        };
    }

    fn server(&self) -> String {
        self.region().unwrap_or("of the default region").to_owned()
    }

    fn queue(&self) -> Queue {
        Queue::new(
            self.queue_url
                .as_ref()
                .or(self.name.as_ref())
                .cloned()
                .unwrap_or_default(),
        )
    }

    #[cfg(feature = "aws")]
    fn open(&self, _: &Http) -> Box<dyn Source> {
        Box::new(client::Sqs::new(self.region().map(str::to_owned)))
    }

    #[cfg(not(feature = "aws"))]
    fn open(&self, _: &Http) -> Box<dyn Source> {
        Box::new(without::NoAws)
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Of `https://sqs.REGION.amazonaws.com/...`.
fn region(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://sqs.")?.split('/').next()?;
    let (region, rest) = host.split_once('.')?;
    rest.starts_with("amazonaws.com").then_some(region)
}

#[cfg(not(feature = "aws"))]
mod without {
    use crate::poll::plan::{Harvest, Queue};
    use crate::poll::source::{Later, Source, SourceError};

    /// [`super::Spec::check`] lets nobody get this far.
    pub struct NoAws;

    impl Source for NoAws {
        fn bulk(&self) -> bool {
            true
        }

        fn read<'a>(&'a mut self, _: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
            let error = SourceError::Denied("this build has no AWS in it".to_owned());
            Box::pin(std::future::ready(Err(error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::source::Spec as _;

    fn spec(text: &str) -> Spec {
        toml::from_str(text).expect("a source")
    }

    #[test]
    fn the_region_is_in_the_address() {
        for (url, expected) in [
            (
                "https://sqs.us-east-1.amazonaws.com/123456789012/jobs",
                Some("us-east-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs",
                Some("cn-north-1"),
            ),
            ("https://sqs.example.com/jobs", None),
            ("https://queue.amazonaws.com/123456789012/jobs", None),
            ("http://127.0.0.1:5000/123456789012/jobs", None),
            ("", None),
        ] {
            assert_eq!(region(url), expected, "{url}");
        }
        let url = "queue_url = 'https://sqs.us-east-1.amazonaws.com/123456789012/jobs'";
        assert_eq!(spec(url).server(), "us-east-1");
        assert_eq!(
            spec(&format!("{url}\nregion = 'eu-west-1'")).server(),
            "eu-west-1"
        );
        assert_eq!(spec("name = 'jobs'").server(), "of the default region");
    }

    #[test]
    fn a_tag_is_a_name_or_an_address() {
        let mut spec = spec("region = 'eu-west-1'");
        spec.fill("jobs");
        assert_eq!(spec.queue(), Queue::new("jobs"));
        assert_eq!(
            (spec.name.as_deref(), spec.queue_url.as_deref()),
            (Some("jobs"), None)
        );
        let url = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs";
        spec.fill(url);
        assert_eq!(spec.queue(), Queue::new(url));
        assert_eq!(
            (spec.name.as_deref(), spec.queue_url.as_deref()),
            (None, Some(url))
        );
    }

    #[cfg(not(feature = "aws"))]
    #[test]
    fn a_build_without_aws_says_so() {
        let said = spec("name = 'jobs'").check().expect_err("refused");
        assert!(said.contains("no AWS"), "{said}");
    }

    #[cfg(feature = "aws")]
    #[test]
    fn a_queue_must_be_named_in_one_way() {
        let url = "queue_url = 'https://sqs.us-east-1.amazonaws.com/1/jobs'";
        assert_eq!(spec(url).check(), Ok(()));
        assert_eq!(spec("name = 'jobs'").check(), Ok(()));
        for bad in [
            "",
            "name = ''",
            "name = 'https://sqs.us-east-1.amazonaws.com/1/jobs'",
            "queue_url = 'jobs'",
            &format!("{url}\nname = 'jobs'"),
        ] {
            assert!(spec(bad).check().is_err(), "{bad}");
        }
    }
}

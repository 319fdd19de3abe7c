//! An SQS queue as the poller's source: messages that are visible wait, those in flight run.

use crate::support::TestBed;
use crate::support::http::block_on;
use crate::support::moto::{moto, texts};

/// A group of a machine whose credentials are good for moto, and which has nothing yet.
fn bed(source: &str) -> TestBed {
    let bed = TestBed::new();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", moto().url().as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIATESTBED"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ] {
        bed.set_env(name, value);
    }
    let supply = bed.write("supply", r#"{"desired": 0, "alive": 0, "max": 9}"#);
    let toml = format!(
        "[[group]]\nname = \"workers\"\nsource = {{ kind = \"sqs\", {source} }}\n\
         target = {{ kind = \"exec\", supply = [\"cat\", \"{supply}\"], launch = [\"true\"] }}\n"
    );
    bed.write("clockout.toml", toml);
    bed
}

/// The arithmetic of the group, or why there is none.
fn explain(bed: &TestBed) -> String {
    let told = bed.call("poll --explain workers").stdout;
    String::from_utf8(told).expect("text")
}

/// A queue of moto's; its address.
fn queue(name: &str) -> String {
    let told = block_on(moto().sqs("CreateQueue", &[("QueueName", name)]));
    texts(&told, "QueueUrl").remove(0)
}

#[test]
fn messages_wait_until_they_are_received_and_run_until_they_are_deleted() {
    let url = queue("jobs");
    for _ in 0..3 {
        let params = [("QueueUrl", url.as_str()), ("MessageBody", "a job")];
        block_on(moto().sqs("SendMessage", &params));
    }
    for source in [
        "name = \"jobs\"".to_owned(),
        format!("queue_url = \"{url}\""),
    ] {
        let said = explain(&bed(&source));
        assert!(said.contains("(3 waiting + 0 running)"), "{said}");
    }
    let params = [("QueueUrl", url.as_str()), ("VisibilityTimeout", "3600")];
    let received = block_on(moto().sqs("ReceiveMessage", &params));
    let said = explain(&bed("name = \"jobs\""));
    assert!(said.contains("(2 waiting + 1 running)"), "{said}");
    let receipt = texts(&received, "ReceiptHandle").remove(0);
    let params = [("QueueUrl", url.as_str()), ("ReceiptHandle", &receipt)];
    block_on(moto().sqs("DeleteMessage", &params));
    let said = explain(&bed("name = \"jobs\""));
    assert!(said.contains("(2 waiting + 0 running)"), "{said}");
}

#[test]
fn a_queue_that_is_not_there_is_unknown_not_empty() {
    let said = explain(&bed("name = \"nowhere\""));
    assert!(said.contains("queue nowhere: "), "{said}");
    assert!(!said.contains(" waiting"), "{said}");
}

//! What a group serves of a server, where that is more than a name: several keys of the
//! configuration as one text, which the source takes apart again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::poll::plan::Queue;

/// The same keys give the same text.
pub fn to_queue(selector: &impl Serialize) -> Queue {
    let text = serde_json::to_string(selector);
    Queue::new(text.expect("keys of a configuration are text, numbers and maps of text"))
}

/// What [`to_queue`] was given.
pub fn of_queue<T: DeserializeOwned>(queue: &Queue) -> Result<T, String> {
    serde_json::from_str(queue.as_str()).map_err(|error| format!("not a queue of ours: {error}"))
}

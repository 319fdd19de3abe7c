//! Several questions at once, but not all of them, and not for ever.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

/// Runs the futures in their order, at most `at_once` at a time, until `deadline`. What was not
/// ready by then is `None`, and dropped.
pub async fn together<T, F: Future<Output = T>>(
    futures: impl ExactSizeIterator<Item = F>,
    at_once: usize,
    deadline: Instant,
) -> Vec<Option<T>> {
    let mut results: Vec<Option<T>> = Vec::new();
    results.resize_with(futures.len(), || None);
    let mut waiting = futures.enumerate();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let all = poll_fn(|context| {
        loop {
            let free = at_once.max(1).saturating_sub(running.len());
            running.extend(
                waiting
                    .by_ref()
                    .take(free)
                    .map(|(at, next)| (at, Box::pin(next))),
            );
            if running.is_empty() {
                return Poll::Ready(());
            }
            let before = running.len();
            running.retain_mut(|(at, future)| match future.as_mut().poll(context) {
                Poll::Ready(result) => {
                    results[*at] = Some(result);
                    false
                }
                Poll::Pending => true,
            });
            if running.len() == before {
                return Poll::Pending;
            }
        }
    });
    // Late is not lost: what is there is used.
    let _ = timeout_at(deadline, all).await;
    results
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;
    use crate::poll::http::testing::block_on;

    #[test]
    fn results_keep_their_order_and_no_more_run_than_allowed() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let jobs = (0..50_u32).map(|number| {
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                // Later ones are ready sooner.
                for _ in 0..50 - number {
                    yield_now().await;
                }
                running.set(running.get() - 1);
                number
            }
        });
        let never = Instant::now() + Duration::from_secs(600);
        let results = block_on(together(jobs, 7, never));
        assert_eq!(results, (0..50).map(Some).collect::<Vec<_>>());
        assert_eq!(most.get(), 7);
    }

    #[test]
    fn what_is_late_is_left_out_and_the_rest_is_there() {
        let jobs = [Some(1), None, Some(2)].into_iter();
        let jobs = jobs.map(|number| async move {
            match number {
                Some(number) => number,
                None => std::future::pending().await,
            }
        });
        let results = block_on(async { together(jobs, 3, Instant::now()).await });
        assert_eq!(results, [Some(1), None, Some(2)]);
    }

    #[test]
    fn nothing_is_done_at_once() {
        let none: [std::future::Ready<()>; 0] = [];
        let never = Instant::now() + Duration::from_secs(600);
        assert!(block_on(together(none.into_iter(), 3, never)).is_empty());
        let one = [ready(7)].into_iter();
        assert_eq!(block_on(together(one, 0, never)), [Some(7)]);
    }
}

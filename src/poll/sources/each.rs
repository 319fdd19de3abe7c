//! A round of a server that must be asked for each queue by itself.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::poll::http::merge_hints;
use crate::poll::plan::{Demand, Harvest, Hints, Queue};
use crate::poll::source::SourceError;
use crate::poll::together::together;

/// Queues that are asked for at once.
const AT_ONCE: usize = 16;
/// A round ends a little before it would be cut off, so that what was read is not lost.
const PATIENCE: Duration = Duration::from_secs(18);

/// Whose turn it is, should one round not be enough for all.
#[derive(Debug)]
pub struct Each {
    first: Option<Queue>,
    patience: Duration,
}

impl Default for Each {
    fn default() -> Each {
        Each {
            first: None,
            patience: PATIENCE,
        }
    }
}

/// What one queue's answers told.
#[derive(Debug, Default)]
pub struct Told {
    pub demand: Demand,
    pub hints: Hints,
    pub remarks: Vec<String>,
}

impl Each {
    /// Asks for each queue. Once the server says that it is asked too often it is asked no more.
    /// An error when nothing was told of any queue.
    pub async fn ask<F>(
        &mut self,
        queues: &[Queue],
        read: impl Fn(Queue) -> F,
    ) -> Result<Harvest, SourceError>
    where
        F: Future<Output = Result<Told, SourceError>>,
    {
        let start = queues
            .iter()
            .position(|queue| Some(queue) == self.first.as_ref());
        let (after, before) = queues.split_at(start.unwrap_or(0));
        let queues: Vec<&Queue> = before.iter().chain(after).collect();
        let limited = RefCell::new(None);
        let jobs = queues.iter().map(|queue| {
            let told = read((*queue).clone());
            let limited = &limited;
            async move {
                if let Some(error) = limited.borrow().clone() {
                    return Err(error);
                }
                let told = told.await;
                if let Err(error @ SourceError::Limited(_)) = &told {
                    *limited.borrow_mut() = Some(error.clone());
                }
                told
            }
        });
        let jobs: Vec<_> = jobs.collect();
        let results = together(jobs.into_iter(), AT_ONCE, Instant::now() + self.patience).await;
        let missed = results.iter().position(Option::is_none);
        self.first = missed.map(|at| queues[at].clone());
        gather(queues, results)
    }
}

fn gather(
    queues: Vec<&Queue>,
    results: Vec<Option<Result<Told, SourceError>>>,
) -> Result<Harvest, SourceError> {
    let mut harvest = Harvest::default();
    let (mut any, mut first) = (queues.is_empty(), None);
    for (queue, result) in queues.into_iter().zip(results) {
        let result = result.unwrap_or_else(|| {
            let text = "no answer within the time for a round: the server is slow, or there are \
                        too many queues";
            Err(SourceError::Unreachable(text.to_owned()))
        });
        let demand = match result {
            Ok(told) => {
                any = true;
                harvest.hints = merge_hints(harvest.hints, told.hints);
                harvest.remarks.extend(told.remarks);
                Ok(told.demand)
            }
            Err(error) => {
                harvest.hints = merge_hints(harvest.hints, error.hints());
                let text = error.to_string();
                first.get_or_insert(error);
                Err(text)
            }
        };
        harvest.demands.push((queue.clone(), demand));
    }
    match first {
        Some(error) if !any => Err(error),
        _ => Ok(harvest),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;
    use crate::poll::http::testing::block_on;

    fn queues(names: &[&str]) -> Vec<Queue> {
        names.iter().map(|name| Queue::new(*name)).collect()
    }

    fn told(waiting: u32) -> Result<Told, SourceError> {
        Ok(Told {
            demand: Demand {
                waiting,
                ..Demand::default()
            },
            ..Told::default()
        })
    }

    #[test]
    fn one_queue_that_fails_does_not_hide_the_others() {
        let read = |queue: Queue| async move {
            match queue.as_str() {
                "bad" => Err(SourceError::Missing("404".to_owned())),
                name => told(name.len() as u32),
            }
        };
        let asked = queues(&["one", "bad", "three"]);
        let harvest = block_on(Each::default().ask(&asked, read)).expect("a harvest");
        let waiting = harvest.demands.iter();
        let waiting: Vec<_> = waiting
            .map(|(queue, told)| (queue.as_str(), told.as_ref().map(|told| told.waiting)))
            .collect();
        let error = "404".to_owned();
        assert_eq!(
            waiting,
            [("one", Ok(3)), ("bad", Err(&error)), ("three", Ok(5))]
        );
        let all = block_on(Each::default().ask(&queues(&["bad", "bad"]), read));
        assert_eq!(all, Err(SourceError::Missing("404".to_owned())));
        assert_eq!(
            block_on(Each::default().ask(&[], read)),
            Ok(Harvest::default())
        );
    }

    #[test]
    fn a_server_that_is_asked_too_often_is_asked_no_more() {
        let asked = Cell::new(0);
        let read = |_| {
            let asked = &asked;
            async move {
                asked.set(asked.get() + 1);
                let number = asked.get();
                for _ in 0..number {
                    yield_now().await;
                }
                match number {
                    1 => told(1),
                    _ => Err(SourceError::Limited(Some(Duration::from_secs(60)))),
                }
            }
        };
        let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let harvest = block_on(Each::default().ask(&queues(&names), read)).expect("a harvest");
        // Those that had been sent when it said so.
        assert_eq!(asked.get(), AT_ONCE as u64);
        assert_eq!(harvest.hints.not_before, Some(Duration::from_secs(60)));
        assert_eq!(harvest.demands.len(), 100);
    }

    #[test]
    fn queues_for_which_there_was_no_time_come_first_the_next_time() {
        let read = |queue: Queue| async move {
            match queue.as_str() {
                "slow" => std::future::pending().await,
                _ => told(1),
            }
        };
        let names: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        let mut all: Vec<_> = names.iter().map(Queue::new).collect();
        // As many as are asked for at once.
        all.splice(1..1, vec![Queue::new("slow"); AT_ONCE]);
        let mut each = Each {
            patience: Duration::ZERO,
            ..Each::default()
        };
        let late = |harvest: &Harvest| {
            let late = harvest.demands.iter().filter(|(_, told)| told.is_err());
            late.filter(|(queue, _)| queue.as_str() != "slow").count()
        };
        let harvest = block_on(each.ask(&all, read)).expect("a harvest");
        assert_eq!(harvest.demands[0].0.as_str(), "0");
        assert_eq!(late(&harvest), 19);
        assert_eq!(each.first, Some(Queue::new("slow")));
        // Once nothing is slow any more.
        let good = |_| async { told(1) };
        let harvest = block_on(each.ask(&all, good)).expect("a harvest");
        assert_eq!(harvest.demands[0].0.as_str(), "slow");
        assert_eq!(late(&harvest), 0);
        assert_eq!((harvest.demands.len(), each.first), (all.len(), None));
    }
}

//! Chance that one number repeats: the same seed is the same world.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Chance(Option<u64>);

impl Chance {
    pub fn of(seed: u64) -> Chance {
        Chance(Some(seed))
    }

    /// A world in which nothing happens by chance, and everything as soon as it can.
    pub fn none() -> Chance {
        Chance(None)
    }

    /// Another, that this one's later draws do not change.
    pub fn fork(&mut self) -> Chance {
        Chance(self.next())
    }

    fn next(&mut self) -> Option<u64> {
        let state = self.0.as_mut()?;
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    }

    /// Zero to `n`, which is excluded and not zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next().unwrap_or(0) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_some_and(|number| number % n == 0)
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// To the millisecond; the shorter, the likelier. Without chance the shortest.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_millis() as u64 + 1;
        let part = self.below(span);
        let part = self.below(part + 1);
        shortest + Duration::from_millis(part)
    }

    /// The same in seconds.
    pub fn seconds(&mut self, shortest: u64, longest: u64) -> Duration {
        self.between(Duration::from_secs(shortest), Duration::from_secs(longest))
    }
}

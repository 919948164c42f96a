//! Times of several subjects, measured in turns.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// What a time is taken with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// CPU time of the thread: what else runs on the machine does not count. For what never waits.
    Thread,
    /// Real time. For what another thread has to do.
    Real,
}

impl Clock {
    pub(crate) fn now(self) -> Duration {
        match self {
            Self::Thread => {
                Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
            }
            Self::Real => BEGUN.elapsed(),
        }
    }
}

/// What real time is counted from.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Runs something so many times, and answers how long it took altogether. 0 times is what it takes to
/// prepare, which is taken off.
pub(crate) type Timed<'a> = Box<dyn FnMut(u32) -> Result<Duration> + 'a>;

/// How many rounds there are: an odd number, for the median.
pub(crate) const ROUNDS: usize = 15;
/// How long each subject runs in a round.
pub(crate) const ROUND: Duration = Duration::from_millis(24);

/// The same, of what takes a second or so.
pub(crate) const MOVES: usize = 3;

/// The median time of each subject, in nanoseconds. Every round runs every subject, a different one
/// first.
pub(crate) fn medians(subjects: &mut [Timed<'_>]) -> Result<Vec<f64>> {
    let counts = subjects.iter_mut().map(calibrate).collect::<Result<Vec<_>>>()?;
    in_rounds(subjects, &counts, ROUNDS)
}

/// The same, of so many times in each of so many rounds.
pub(crate) fn medians_of(
    subjects: &mut [Timed<'_>],
    count: u32,
    rounds: usize,
) -> Result<Vec<f64>> {
    let counts = vec![count; subjects.len()];
    in_rounds(subjects, &counts, rounds)
}

fn in_rounds(subjects: &mut [Timed<'_>], counts: &[u32], rounds: usize) -> Result<Vec<f64>> {
    let mut samples = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..rounds {
        let mut turns: Vec<_> = subjects.iter_mut().zip(counts).zip(&mut samples).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for ((subject, count), samples) in turns {
            let preparation = subject(0)?;
            let time = subject(*count)?.saturating_sub(preparation);
            samples.push(time.as_nanos() as f64 / f64::from(*count));
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

/// How often a subject has to run to fill a round. Also warms it up.
fn calibrate(subject: &mut Timed<'_>) -> Result<u32> {
    let mut count = 1_u32;
    loop {
        let preparation = subject(0)?;
        let time = subject(count)?.saturating_sub(preparation);
        if time * 4 >= ROUND || count >= 1 << 24 {
            let fill = ROUND.as_secs_f64() / time.as_secs_f64().max(1e-9);
            return Ok((f64::from(count) * fill).clamp(1.0, 1e8) as u32);
        }
        count *= 4;
    }
}

/// The middle one.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

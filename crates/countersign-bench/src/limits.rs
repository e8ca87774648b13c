use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use countersign_store::{CredentialId, MemoryBudget, Quota};

use crate::figure::Figure;

/// How many checks one thread makes in a round.
const CHECKS: u32 = 200_000;

/// How many charges of a budget in memory, and looks at one, are made by how many threads over how many subjects.
pub(crate) fn figures(rounds: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (what, check) in CHECKED {
        for threads in [1, 2] {
            for subjects in [1, 100_000] {
                let name = format!("limit-{what}/threads={threads}/subjects={subjects}");
                let per_second = measure(rounds, threads, subjects, check);
                figures.push(Figure::new(name, per_second, "checks/s", None));
            }
        }
    }
    figures
}

type Budget = MemoryBudget<CredentialId>;
type Check = fn(&Budget, CredentialId);

const CHECKED: [(&str, Check); 2] = [
    ("charge", |budget, subject| drop(black_box(budget.charge(subject, NonZeroU32::MIN)))),
    ("look", |budget, subject| drop(black_box(budget.look(subject)))),
];

/// The median of the rounds.
fn measure(rounds: usize, threads: u32, subjects: i64, check: Check) -> f64 {
    // So much that every check is one that passes, which is the longer way.
    let quota = Quota::per_second(NonZeroU32::MAX);
    let budget = MemoryBudget::new("bench", [quota]).unwrap();
    for subject in 0..subjects {
        drop(budget.charge(CredentialId::new(subject), NonZeroU32::MIN));
    }
    let mut times: Vec<_> = (0..rounds).map(|_| round(&budget, threads, subjects, check)).collect();
    times.sort();
    let median = times.get(times.len() / 2).unwrap();
    f64::from(CHECKS) * f64::from(threads) / median.as_secs_f64()
}

/// The time from the start of all threads to the end of the last.
fn round(budget: &Budget, threads: u32, subjects: i64, check: Check) -> Duration {
    let ready = Barrier::new(usize::try_from(threads).unwrap());
    thread::scope(|scope| {
        let run = |first: i64| {
            ready.wait();
            let start = Instant::now();
            let mut subject = first;
            for _ in 0..CHECKS {
                // A step that is prime to the number of subjects, so that neighbours do not come one after the other.
                subject = (subject + 7919) % subjects;
                check(budget, CredentialId::new(subject));
            }
            start.elapsed()
        };
        let threads: Vec<_> =
            (0..threads).map(|at| scope.spawn(move || run(i64::from(at) * subjects / 2))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

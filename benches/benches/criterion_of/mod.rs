//! Scenarios under criterion: the driver and Larder side by side, in one group each.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use criterion::Criterion;
use larder_benches::Scenario;

/// Runs the scenarios that the command line asks for.
pub(crate) fn run<F>(scenarios: &[Scenario<F>], fixture: &F) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for scenario in scenarios {
        bench(&mut criterion, scenario, fixture);
    }
    criterion.final_summary();
}

fn bench<F>(criterion: &mut Criterion, scenario: &Scenario<F>, fixture: &F) {
    let mut group = criterion.benchmark_group(scenario.name);
    // Opened by the first of the two that is not filtered out.
    let pair = OnceCell::new();
    let open = || RefCell::new((scenario.open)(fixture));
    group.bench_function("raw", |bencher| {
        let mut pair = pair.get_or_init(open).borrow_mut();
        bencher.iter_custom(|times| (pair.raw)(times));
    });
    group.bench_function("larder", |bencher| {
        let mut pair = pair.get_or_init(open).borrow_mut();
        bencher.iter_custom(|times| (pair.larder)(times));
    });
    group.finish();
}

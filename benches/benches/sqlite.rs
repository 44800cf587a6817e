//! Criterion on the same scenarios: the driver and Larder side by side in one group each.

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use larder_benches::sqlite::{Fixture, SCENARIOS, Scenario};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let fixture = Fixture::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    for scenario in SCENARIOS {
        bench(&mut criterion, scenario, &fixture);
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, scenario: &Scenario, fixture: &Fixture) {
    let mut group = criterion.benchmark_group(scenario.name);
    // Opened by the first of the two that is not filtered out.
    let pair = std::cell::OnceCell::new();
    let open = || std::cell::RefCell::new((scenario.open)(fixture));
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

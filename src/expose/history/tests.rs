//! The charted past: what is in it, and what it may take.

use super::*;
use crate::metric::Histogram;
use std::time::Instant;

fn subject(group: Group, name: &str, at: Instant, count: u32) -> Subject {
    let total = f64::from(count);
    let bounds: Arc<[f64]> = match group {
        Group::Models | Group::Histograms => (1..=18).map(f64::from).collect(),
        _ => Arc::new([]),
    };
    let counts = bounds.iter().map(|_| u64::from(count)).chain([0]);
    let histogram = (!bounds.is_empty()).then(|| Histogram::from_counts(counts, total));
    Subject {
        group,
        labels: vec![("model_name".to_owned(), name.to_owned())],
        facts: vec![("requests", total)],
        bounds,
        moment: Moment { at, inputs: vec![total; 8], histogram },
        activity: total,
    }
}

fn names(rows: &Rows) -> Vec<&str> {
    rows.rows.iter().map(|row| row.labels["model_name"].as_str()).collect()
}

#[test]
fn budgets_add_up_to_the_whole() {
    let waiting = WAITING_MAX * 2 * size_of::<(u64, Activity)>();
    assert!(Group::ALL.iter().map(|group| group.budget()).sum::<usize>() + waiting <= BUDGET);
}

#[test]
fn charts_are_of_fifteen_minutes_and_rows_of_now() {
    let (history, start) = (History::default(), Instant::now());
    for step in 0..200_u32 {
        let model = subject(Group::Models, "m", start + STEP * step, step * 10);
        history.sample(vec![model], f64::from(step));
    }
    let charts = history.charts(0);
    let row = &charts.groups["models"].rows[0];
    assert_eq!(POINTS, row.charts["requests_per_second"].len());
    assert_eq!((Some(&36.0), Some(&1.0)), (row.now.get("requests_per_second"), row.now.get("error_ratio")));
    assert_eq!((200, 199.0, 1990.0), (charts.samples, charts.sampled_at, row.facts["requests"]));
    let newer = history.charts(charts.samples - 3);
    assert_eq!(3, newer.groups["models"].rows[0].charts["p95_seconds"].len(), "only what is new");
    assert_eq!(0, history.charts(charts.samples).groups["models"].rows[0].charts["p95_seconds"].len());
}

#[test]
fn a_subject_that_pauses_has_a_gap_and_one_that_is_gone_has_no_row() {
    let (history, start) = (History::default(), Instant::now());
    let gpu = |step: u32| subject(Group::Gpus, "g", start + STEP * step, 5);
    history.sample(vec![gpu(0)], 0.0);
    history.sample(Vec::new(), 1.0);
    assert_eq!(0, history.charts(0).groups["gpus"].rows.len());
    history.sample(vec![gpu(2)], 2.0);
    let charts = history.charts(0);
    let points = &charts.groups["gpus"].rows[0].charts["power_watts"];
    assert!(matches!(**points, [5.0, gap, 5.0] if gap.is_nan()), "{points:?}");
    (0..20).for_each(|step| history.sample(Vec::new(), f64::from(step)));
    assert_eq!(0, history.lock().tracks.len(), "forgotten");
}

#[test]
fn memory_is_bounded_and_the_busiest_have_it() {
    let (history, start) = (History::default(), Instant::now());
    for step in 0..40_u32 {
        let mut subjects = Vec::new();
        for group in Group::ALL {
            // The later a subject comes, the busier it is.
            subjects.extend(
                (0..300).map(|number| {
                    subject(group, &format!("m{number:03}"), start + STEP * step, step * number)
                }),
            );
        }
        history.sample(subjects, f64::from(step));
        let inner = history.lock();
        for group in Group::ALL {
            assert!(inner.used(group) <= group.budget(), "{group:?}: {}", inner.used(group));
        }
    }
    let charts = history.charts(0);
    let models = &charts.groups["models"];
    let count = models.rows.len();
    assert!(count >= 30, "{count} models have a chart");
    assert_eq!(300, count + models.left_out);
    assert_eq!("m299", names(models)[0]);
    let expected: Vec<String> = (0..count).map(|place| format!("m{:03}", 299 - place)).collect();
    let kept: std::collections::BTreeSet<&str> = names(models).into_iter().collect();
    let busiest = expected.iter().filter(|name| kept.contains(name.as_str())).count();
    assert!(busiest * 10 >= count * 8, "{busiest} of {count} are of the busiest: {kept:?}");
}

//! The table of limits: what an item of a hot path may cost, and who is over it.

/// How much above today's figure a fresh limit is, in percent: more than figures wobble from run to run and less
/// than anybody should lose without noticing.
const SLACK: u64 = 5;

pub(crate) const HEADING: &str = "\
# The most instructions that one item of a hot path may take. `cargo bench -- instructions` holds them, as part of
# tests/run.sh, and `cargo bench -- instructions --update` writes the figures of these sources plus 5 % here.
#
# Who raises one says in the commit's body what is gained for it. Who lowers the figures lowers the limits.
# Counted on x86-64 with AVX2; elsewhere the same code takes another number of instructions.
";

/// What an item takes and of which path it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) path: String,
    pub(crate) instructions: u64,
}

/// The limit of a path.
pub(crate) fn limit(table: &str, path: &str) -> Option<u64> {
    rows(table).find(|(name, _)| *name == path).and_then(|(_, limit)| limit.parse().ok())
}

/// What is wrong, a sentence for each path.
pub(crate) fn complaints(table: &str, figures: &[Figure]) -> Vec<String> {
    let over = figures.iter().filter_map(|Figure { path, instructions }| match limit(table, path) {
        Some(limit) if *instructions <= limit => None,
        Some(limit) => Some(format!(
            "{path}: {instructions} instructions, the limit is {limit}; make it cheaper, or raise the limit in \
             tests/bench/limits.txt and say in the commit what is gained for it"
        )),
        None => Some(format!("{path}: {instructions} instructions, and tests/bench/limits.txt has no limit")),
    });
    let is_counted = |name: &str| figures.iter().any(|figure| figure.path == name);
    let idle = rows(table).filter(|(name, _)| !is_counted(name));
    over.chain(idle.map(|(name, _)| format!("{name}: has a limit, and nobody counts it"))).collect()
}

/// The table that allows these figures and no more than a little above them.
pub(crate) fn table(figures: &[Figure]) -> String {
    let row = |figure: &Figure| {
        format!("{:>7}  {}\n", (figure.instructions * (100 + SLACK)).div_ceil(100), figure.path)
    };
    let rows: String = figures.iter().map(row).collect();
    format!("{HEADING}\n{rows}")
}

/// Names and limits.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map_or((line, ""), |(limit, name)| (name.trim(), limit)))
}

//! Which files a PATH stands for, and which of them belong together.
//!
//! A source is a folder and a stem: `logs/ts_metrics.log` is the live file of the stem `ts_metrics`, and
//! `ts_metrics.20-Nov.log.gz`, `ts_metrics.log.1` or `ts_metrics-2026-11-20-4.log` are its archives.

use super::listing::{Folders, Names};
use super::pods::Pod;
use crate::state::Role;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A live file that is to be followed, present or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// The live file.
    pub live: PathBuf,
    /// What is taken from it.
    pub role: Role,
    /// The format's name, where the file's name tells it.
    pub format: Option<&'static str>,
    /// Whether the user named this very file.
    pub is_named: bool,
    /// Whose container writes it, on a node of Kubernetes.
    pub pod: Option<Pod>,
}

/// What is wrong with a PATH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It does not exist (yet).
    Absent,
    /// It is a folder without any log file (yet).
    Empty,
    /// It cannot be read; the text says who owns it and who we are.
    Unreadable(String),
    /// It leads out of its folder by a link.
    Outside(PathBuf),
}

/// TorchServe's files in the order in which they are read: types first, then the metrics, then the
/// requests, whose model names must be known from the metrics.
const TORCHSERVE: [(&str, Role, &str); 4] = [
    ("ts_log.log", Role::FactsOnly, "torchserve-console"),
    ("ts_metrics.log", Role::All, "torchserve"),
    ("model_metrics.log", Role::All, "torchserve"),
    ("access_log.log", Role::All, "torchserve-access"),
];

/// TorchServe's other file; it holds the models' own output.
const TORCHSERVE_OTHER: [&str; 1] = ["model_log.log"];

/// Finds the live files that a PATH stands for at this moment.
///
/// # Errors
///
/// What keeps it from standing for any; most of these pass.
pub(crate) fn discover(
    path: &Path,
    allowed: &[PathBuf],
    folders: &mut Folders,
) -> Result<Vec<Found>, Problem> {
    let text = path.to_string_lossy();
    if text.contains(['*', '?', '[']) && fs::symlink_metadata(path).is_err() {
        return discover_glob(&text, &roots(path, allowed));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => discover_folder(path, allowed, folders),
        Ok(metadata) if !metadata.is_file() => Err(Problem::Unreadable(format!(
            "{} is neither a file nor a folder; a pipe is followed as -",
            path.display()
        ))),
        // Asked and not tried: an opening at every look would wake our own watch.
        Ok(metadata) => match accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS) {
            Err(Errno::ACCESS) => Err(Problem::Unreadable(who(path, &metadata))),
            _ => Ok(vec![named(path)]),
        },
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let nearest = path.ancestors().find_map(|parent| Some((parent, fs::metadata(parent).ok()?)));
            let text = nearest.map_or_else(|| error.to_string(), |(parent, metadata)| who(parent, &metadata));
            Err(Problem::Unreadable(text))
        }
        // A path that looks like a file is followed from the moment it appears.
        Err(_) if path.extension().is_some() => Ok(vec![named(path)]),
        Err(_) => Err(Problem::Absent),
    }
}

fn discover_glob(pattern: &str, roots: &[PathBuf]) -> Result<Vec<Found>, Problem> {
    // As in a shell, a star does not stand for a leading dot: editors keep their files there.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(pattern, options).map_err(|_| Problem::Absent)?;
    let mut found: Vec<Found> = paths
        .flatten()
        .filter(|path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file()))
        .filter(|path| !is_gzip(path))
        .map(|path| Found { is_named: false, ..named(&path) })
        .collect();
    let outside = found.iter().find(|found| !ends_inside(&found.live, roots)).map(|found| found.live.clone());
    found.retain(|found| ends_inside(&found.live, roots));
    let mut found: Vec<Found> = found.into_iter().map(at_its_place).collect();
    found.sort();
    match (found.is_empty(), outside) {
        (false, _) => Ok(found),
        (true, Some(outside)) => Err(Problem::Outside(outside)),
        (true, None) => Err(Problem::Absent),
    }
}

/// A file that was given by its own name is taken as what it holds.
fn named(path: &Path) -> Found {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let known = TORCHSERVE.iter().find(|(file, ..)| *file == name);
    Found {
        live: path.to_owned(),
        role: Role::All,
        format: known.map(|(_, _, format)| *format),
        is_named: true,
        pod: Pod::of(path),
    }
}

fn discover_folder(folder: &Path, allowed: &[PathBuf], folders: &mut Folders) -> Result<Vec<Found>, Problem> {
    let names = match folders.names(folder) {
        Ok(names) => names,
        Err(error) => {
            let metadata = fs::metadata(folder).map_err(|_| Problem::Absent)?;
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let text = if denied { who(folder, &metadata) } else { error.to_string() };
            return Err(Problem::Unreadable(text));
        }
    };
    let live: Vec<Found> =
        if is_torchserve(&names) { torchserve(folder, &names) } else { others(folder, &names) };
    let (inside, outside): (Vec<Found>, Vec<Found>) =
        live.into_iter().partition(|found| ends_inside(&found.live, &roots(folder, allowed)));
    match (inside.is_empty(), outside.into_iter().next()) {
        (true, Some(found)) => Err(Problem::Outside(found.live)),
        (true, None) => Err(Problem::Empty),
        _ => Ok(inside.into_iter().map(at_its_place).collect()),
    }
}

/// Whether a folder is a TorchServe's: one of its metric or access logs, or an archive of one, is there.
fn is_torchserve(names: &Names) -> bool {
    let telling = TORCHSERVE.iter().filter(|(_, role, _)| *role == Role::All);
    telling.clone().any(|(file, ..)| archives(names, Path::new(file)).next().is_some())
        || names.beginning_with(b"ts_log.log").any(|name| name == Path::new("ts_log.log"))
}

/// All four files, present or not: the server makes them one after the other.
fn torchserve(folder: &Path, names: &Names) -> Vec<Found> {
    let is_present = |file: &str| archives(names, Path::new(file)).next().is_some();
    TORCHSERVE
        .iter()
        .filter(|(file, ..)| is_present(file))
        .map(|(file, role, format)| Found {
            live: folder.join(file),
            role: *role,
            format: Some(format),
            is_named: false,
            pod: None,
        })
        .collect()
}

/// Every `*.log` that is not an archive of another one.
fn others(folder: &Path, names: &Names) -> Vec<Found> {
    let logs: Vec<&Path> = names
        .iter()
        .filter(|name| name.extension().is_some_and(|extension| extension == "log"))
        .filter(|name| fs::metadata(folder.join(name)).is_ok_and(|metadata| metadata.is_file()))
        .filter(|name| !TORCHSERVE_OTHER.iter().any(|other| *name == Path::new(other)))
        .collect();
    // In the order of their bytes, as they were listed.
    let is_log = |name: &[u8]| logs.binary_search_by(|log| log.as_os_str().as_bytes().cmp(name)).is_ok();
    let is_archive = |name: &Path| {
        let name = name.as_os_str().as_bytes();
        let mut ends = name
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| matches!(pair, [b'.' | b'-' | b'_', digit] if digit.is_ascii_digit()));
        ends.any(|(end, _)| is_log(&[name.get(..end).unwrap_or_default(), b".log"].concat()))
    };
    let live = logs.iter().filter(|name| !is_archive(name));
    live.map(|name| Found { is_named: false, ..named(&folder.join(name)) }).collect()
}

/// The live file and its archives among a folder's names.
pub(crate) fn archives<'a>(names: &'a Names, live: &'a Path) -> impl Iterator<Item = &'a Path> {
    let stem = live.file_stem().unwrap_or_default().as_bytes();
    names.beginning_with(stem).filter(move |name| belongs(name, live))
}

/// Whether a file is a live file's archive, or that file itself, by their paths alone.
pub(crate) fn is_archive_of(path: &Path, live: &Path) -> bool {
    let name = path.file_name().map(Path::new);
    let is_file = live.extension().is_some();
    is_file && path.parent() == live.parent() && name.is_some_and(|name| belongs(name, live))
}

/// The labels of a file's series: those of the container that writes it, where its place tells, and the configured
/// ones. An archive is its live file's.
pub(crate) fn labels_of(path: &Path, configured: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let live = || {
        let name = path.file_name()?.to_str()?;
        Some(path.with_file_name(format!("{}.log", name.split_once(".log")?.0)))
    };
    let pod = Pod::of(path).or_else(|| Pod::of(&live()?)).or_else(|| Pod::of_link(path));
    pod.map_or_else(|| configured.clone(), |pod| pod.labels(configured))
}

/// Whether `name` is `live` or an archive of it, by their names alone.
fn belongs(name: &Path, live: &Path) -> bool {
    let stem = live.file_stem().unwrap_or_default().as_bytes();
    let suffix = name.as_os_str().as_bytes().strip_prefix(stem);
    live.file_name() == Some(name.as_os_str())
        || suffix.is_some_and(|suffix| matches!(suffix.first(), Some(b'.' | b'-' | b'_')))
}

/// Whether a file's name says that it is compressed.
pub(crate) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A container's log at the place where it lies, and not at the link to it: there it is rotated.
fn at_its_place(found: Found) -> Found {
    let Some(pod) = Pod::of_link(&found.live) else { return found };
    let live = fs::canonicalize(&found.live).unwrap_or(found.live);
    Found { live, pod: Some(pod), ..found }
}

/// Where the files of a PATH may lie: the folder that it names, for a glob the one before its first pattern, and the
/// allowed ones.
pub(crate) fn roots(path: &Path, allowed: &[PathBuf]) -> Vec<PathBuf> {
    let is_pattern = |part: &std::path::Component<'_>| {
        part.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
    };
    let plain: PathBuf = path.components().take_while(|part| !is_pattern(part)).collect();
    let plain = if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain };
    let root = if plain != path || plain.is_dir() { plain } else { parent(path).to_owned() };
    [root].into_iter().chain(allowed.iter().cloned()).collect()
}

/// Whether a file lies in one of the roots, whatever links lead to it.
pub(crate) fn ends_inside(path: &Path, roots: &[PathBuf]) -> bool {
    let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    // Most files lie in the PATH's folder itself: one question instead of one for each folder above.
    if roots.first().is_some_and(|root| parent(path) == root) && !is_link() {
        return true;
    }
    let Ok(target) = fs::canonicalize(path) else { return false };
    roots.iter().filter_map(|root| fs::canonicalize(root).ok()).any(|root| target.starts_with(root))
}

/// Whose a path is, how it may be used, and who we are.
fn who(path: &Path, metadata: &fs::Metadata) -> String {
    let ours = fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |own| own.uid().to_string());
    format!(
        "{} belongs to uid {} gid {} with mode {:04o}; we run as uid {ours}",
        path.display(),
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o7777
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| fs::write(folder.path().join(file), "").unwrap());
        folder
    }

    fn names(found: &[Found]) -> Vec<String> {
        found.iter().map(|found| found.live.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn torchserve_names_win_over_all_others() {
        let folder =
            folder(&["ts_metrics.log", "ts_metrics.20-Nov.log.gz", "ts_log.log", "model_log.log", "x.log"]);
        let found = discover(folder.path(), &[], &mut Folders::default()).unwrap();
        assert_eq!(vec!["ts_log.log", "ts_metrics.log"], names(&found));
        assert_eq!(Role::FactsOnly, found[0].role);
    }

    #[test]
    fn without_them_every_log_counts_once() {
        let folder = folder(&[
            "0.log",
            "0.log.20261120-1",
            "app.log",
            "app-2026-11-20.log",
            "app-worker.log",
            "a.txt",
        ]);
        assert_eq!(
            vec!["0.log", "app-worker.log", "app.log"],
            names(&discover(folder.path(), &[], &mut Folders::default()).unwrap())
        );
    }

    #[test]
    fn direct_write_names_stand_for_the_live_file() {
        let folder = folder(&["ts_metrics-2026-11-20-5.log"]);
        assert_eq!(
            vec!["ts_metrics.log"],
            names(&discover(folder.path(), &[], &mut Folders::default()).unwrap())
        );
    }

    #[test]
    fn an_absent_folder_is_absent_and_an_absent_file_is_followed() {
        assert_eq!(Err(Problem::Absent), discover(Path::new("/nowhere/logs"), &[], &mut Folders::default()));
        assert_eq!(
            vec!["x.log"],
            names(&discover(Path::new("/nowhere/x.log"), &[], &mut Folders::default()).unwrap())
        );
        let empty = folder(&[]);
        assert_eq!(Err(Problem::Empty), discover(empty.path(), &[], &mut Folders::default()));
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let (inside, outside) = (folder(&[]), folder(&["secret.log"]));
        let link = inside.path().join("a.log");
        std::os::unix::fs::symlink(outside.path().join("secret.log"), &link).unwrap();
        assert_eq!(Err(Problem::Outside(link)), discover(inside.path(), &[], &mut Folders::default()));
        assert_eq!(
            1,
            discover(inside.path(), &[outside.path().to_owned()], &mut Folders::default()).unwrap().len()
        );
    }

    #[test]
    fn a_glob_finds_files_and_no_archives() {
        let folder = folder(&["a.log", "b.log", "b.log.gz"]);
        let pattern = folder.path().join("*.log*");
        assert_eq!(vec!["a.log", "b.log"], names(&discover(&pattern, &[], &mut Folders::default()).unwrap()));
    }
}

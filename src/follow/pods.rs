//! What a node's log folders say about a file: whose container wrote it.
//!
//! The kubelet makes both of these (kubernetes/kubernetes: `pkg/kubelet/kuberuntime/helpers.go` and `legacy.go`); the
//! second one is a link to the first one, or to what the runtime writes:
//!
//! ```text
//! /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log
//! /var/log/containers/<pod>_<namespace>_<container>-<id>.log
//! ```
//!
//! A node may be mounted anywhere, so only the end of a path tells.

use std::collections::BTreeMap;
use std::path::Path;

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pod {
    namespace: String,
    pod: String,
    container: String,
}

/// Hexadecimal digits of a container's id.
const ID: usize = 64;

impl Pod {
    /// The container that writes this file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let container = path.parent()?;
        let pod = container.parent()?;
        let file = path.file_name()?.to_str()?.strip_suffix(".log")?;
        let is_count = !file.is_empty() && file.bytes().all(|byte| byte.is_ascii_digit());
        if !is_count || pod.parent()?.file_name()? != "pods" {
            return None;
        }
        // None of the three may have an underscore of its own (RFC 1123 labels).
        let [namespace, pod, _uid] = words(pod.file_name()?.to_str()?)?;
        Self::new(namespace, pod, container.file_name()?.to_str()?)
    }

    /// The container whose log this link names.
    pub(crate) fn of_link(path: &Path) -> Option<Self> {
        if path.parent()?.file_name()? != "containers" {
            return None;
        }
        let [pod, namespace, rest] = words(path.file_name()?.to_str()?.strip_suffix(".log")?)?;
        let (container, id) = rest.rsplit_once('-')?;
        let is_id = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { Self::new(namespace, pod, container) } else { None }
    }

    fn new(namespace: &str, pod: &str, container: &str) -> Option<Self> {
        let is_name = |name: &&str| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            !name.is_empty() && name.len() <= 253 && name.bytes().all(is_legal)
        };
        let is_pod = [namespace, pod, container].iter().all(is_name);
        let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
        is_pod.then_some(Self { namespace, pod, container })
    }

    /// Labels for all series of the container's logs; those that the configuration gives win.
    pub(crate) fn labels(&self, configured: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let own = [("namespace", &self.namespace), ("pod", &self.pod), ("container", &self.container)];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        own.chain(configured.clone()).collect()
    }

    /// The `source` label of a file of this name, and a longer one for pods of one name in two namespaces.
    pub(crate) fn source_names(&self, file: &str) -> [String; 2] {
        let Self { namespace, pod, container } = self;
        [format!("{pod}/{container}/{file}"), format!("{namespace}/{pod}/{container}/{file}")]
    }
}

fn words(text: &str) -> Option<[&str; 3]> {
    let mut words = text.split('_');
    let three = [words.next()?, words.next()?, words.next()?];
    words.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_tells_whose_log_it_is() {
        let expected = Pod::new("ml", "tgi-0", "server");
        let of = |path: &str| Pod::of(Path::new(path));
        assert_eq!(expected, of("/host/var/log/pods/ml_tgi-0_6f2c-11/server/12.log"));
        for path in [
            "/var/log/pods/ml_tgi-0_6f2c/server/12.log.1",
            "/var/log/pods/ml_tgi-0_6f2c/server/x.log",
            "/var/log/pods/ml_tgi-0/server/0.log",
            "/var/log/pods/ml_tgi_0_6f2c/server/0.log",
            "/var/log/pods/ml_\"_6f2c/server/0.log",
            "/var/log/boxes/ml_tgi-0_6f2c/server/0.log",
            "0.log",
        ] {
            assert_eq!(None, of(path), "{path}");
        }
        let id = "0123456789abcdef".repeat(4);
        let of_link = |path: &str| Pod::of_link(Path::new(path));
        assert_eq!(expected, of_link(&format!("/var/log/containers/tgi-0_ml_server-{id}.log")));
        assert_eq!(None, of_link("/var/log/containers/tgi-0_ml_server-12.log"));
        assert_eq!(None, of_link(&format!("/var/log/tgi-0_ml_server-{id}.log")));
    }

    #[test]
    fn configured_labels_win() {
        let pod = Pod::new("ml", "tgi-0", "server").unwrap();
        let labels = pod.labels(&BTreeMap::from([("pod".to_owned(), "mine".to_owned())]));
        assert_eq!(vec!["server", "ml", "mine"], labels.values().collect::<Vec<_>>());
    }
}

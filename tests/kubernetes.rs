//! The manifests of `deploy/kubernetes`: every kustomization is rendered by the real tools, every built-in object is held
//! against Kubernetes' own schema, and what is promised of a pod is looked up in what comes out. [`lifecycle`] plays a pod
//! with real processes, [`logging`] is about the file of log4j.
//!
//! There is no cluster: custom resources are looked at for their shape only.

mod lifecycle;
mod logging;
mod manifest;

use crate::support::process::stderr;
use crate::support_prometheus::Demo;
use manifest::{Cluster, named, object, parse, pod, source, tool};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Objects of people who have never heard of us: other names, no list or another one of each kind that is patched.
const FOREIGN: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: bare, labels: {team: vision}}
spec:
  selector: {matchLabels: {app: bare}}
  template:
    metadata: {labels: {app: bare}}
    spec:
      containers:
        - {name: server, image: example.com/server, command: [serve], args: [--port, "8080"]}
        - {name: proxy, image: example.com/proxy}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: full}
spec:
  serviceName: full
  selector: {matchLabels: {app: full}}
  template:
    metadata:
      labels: {app: full}
      annotations: {prometheus.io/port: "8082", example.com/mine: kept}
    spec:
      securityContext: {fsGroup: 1000}
      initContainers:
        - {name: fetch, image: example.com/fetch}
      containers:
        - name: torchserve
          image: example.com/torchserve
          command: [torchserve, --foreground]
          env:
            - {name: TEMP, value: /tmp}
            - {name: LOG_LOCATION, value: /elsewhere}
          ports: [{name: metrics, containerPort: 8082}]
          resources: {limits: {nvidia.com/gpu: "1"}}
          volumeMounts: [{name: models, mountPath: /models}]
      volumes:
        - {name: models, emptyDir: {}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, labels: {inferometer: "off"}}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec: {containers: [{name: cache, image: example.com/cache, command: [cache]}]}
---
apiVersion: v1
kind: Service
metadata:
  name: torchserve
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8082"}
spec: {selector: {app: full}, ports: [{name: metrics, port: 8082}]}
---
apiVersion: v1
kind: Service
metadata:
  name: others
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9090"}
spec: {selector: {app: cache}, ports: [{name: metrics, port: 9090}]}
"#;

/// What no Kubernetes knows by itself.
const CUSTOM: &[&str] = &["PodMonitor", "ScaledObject"];

#[test]
fn every_kustomization_renders_and_every_object_passes_the_schema() {
    let cluster = Cluster::new();
    let mut names = kustomizations(&source(), "Kustomization");
    assert!(names.len() >= 5, "{names:?}");
    // All components at once on objects of somebody else's, but for the two that exclude each other.
    let sidecar = ["sidecar".to_owned()];
    let all = sidecar.into_iter().chain(components().into_iter().filter(|name| name != "sidecar"));
    let all: Vec<String> = all.collect();
    for (name, without) in [("own-shared", "host-pid"), ("own-host", "share-processes")] {
        let list: Vec<&str> =
            all.iter().map(String::as_str).filter(|component| *component != without).collect();
        assert_eq!(all.len() - 1, list.len());
        cluster.with_own(name, FOREIGN, &list);
        names.push(name.to_owned());
    }
    let texts: Vec<String> = names.iter().map(|name| cluster.agreed_text(name)).collect();
    // The oldest with native sidecars, and the newest that is known.
    for version in ["1.29.0", "1.37.0"] {
        assert_eq!(Vec::<String>::new(), complaints(version, &texts));
    }
    let kinds: BTreeSet<String> = texts.iter().flat_map(|text| parse(text)).map(|it| kind_of(&it)).collect();
    let builtin =
        ["ConfigMap", "DaemonSet", "Deployment", "HorizontalPodAutoscaler", "Service", "StatefulSet"];
    let expected: BTreeSet<String> = builtin.iter().chain(CUSTOM).map(|kind| (*kind).to_owned()).collect();
    assert_eq!(expected, kinds, "nothing that is there for rendering only gets out");
}

#[test]
fn the_schema_check_sees_what_is_wrong() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, imagePullPolicies: Always}]}\n";
    let found = complaints("1.37.0", &[pod.to_owned()]);
    assert!(found.len() == 1 && found[0].contains("imagePullPolicies"), "{found:?}");
    let unknown = "apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: u}\n";
    assert_eq!(1, complaints("1.37.0", &[unknown.to_owned()]).len());
}

#[test]
fn the_quick_start_is_torchserve_with_a_native_sidecar() {
    let cluster = Cluster::new();
    let objects = cluster.objects(".");
    let pod = pod(object(&objects, "Deployment"));
    check_sidecar(pod);
    let server = &pod["spec"]["containers"][0];
    assert_eq!("torchserve", server["name"]);
    check_torchserve(pod, object(&objects, "ConfigMap"));
    assert_eq!(
        json!({"fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}),
        pod["spec"]["securityContext"]
    );
    assert!(!pod.to_string().contains("nvidia.com/gpu"), "{pod}");
    // A version each, or the newest image would be whatever a registry has.
    for container in [server, &pod["spec"]["initContainers"][0]] {
        assert!(container["image"].as_str().is_some_and(|image| image.contains(':')), "{container}");
    }
}

#[test]
fn a_component_patches_whatever_it_finds_and_leaves_the_rest_alone() {
    let cluster = Cluster::new();
    cluster.with_own("own", FOREIGN, &["sidecar", "torchserve"]);
    let objects = cluster.objects("own");
    let by_name = |name: &str| objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
    let configuration = object(&objects, "ConfigMap");

    let bare = pod(by_name("own-bare"));
    check_sidecar(bare);
    check_torchserve(bare, configuration);
    assert_eq!(json!({"name": "proxy", "image": "example.com/proxy"}), bare["spec"]["containers"][1]);
    assert_eq!(json!(["serve"]), bare["spec"]["containers"][0]["command"]);

    let full = pod(by_name("own-full"));
    check_sidecar(full);
    check_torchserve(full, configuration);
    let (annotations, spec) = (&full["metadata"]["annotations"], &full["spec"]);
    assert_eq!("kept", annotations["example.com/mine"]);
    assert_eq!(json!({"fsGroup": 1000}), spec["securityContext"]);
    assert_eq!("fetch", spec["initContainers"][1]["name"]);
    let server = &spec["containers"][0];
    assert_eq!("/tmp", named(&server["env"], "TEMP")["value"]);
    assert_eq!(json!({"name": "models", "mountPath": "/models"}), *named(&server["volumeMounts"], "models"));
    assert_eq!(json!({"name": "models", "emptyDir": {}}), *named(&spec["volumes"], "models"));
    assert_eq!(
        json!({"limits": {"nvidia.com/gpu": "1"}}),
        server["resources"],
        "the model's GPU stays the model's"
    );

    let cache = FOREIGN.split("---").find(|text| text.contains("name: cache")).unwrap();
    let mut cache = parse(cache).remove(0);
    cache["metadata"]["name"] = "own-cache".into();
    assert_eq!(cache, *by_name("own-cache"), "inferometer: off");
    let scraped = |name: &str| &by_name(name)["metadata"]["annotations"]["prometheus.io/scrape"];
    assert_eq!(
        ("false", "true"),
        (scraped("own-torchserve").as_str().unwrap(), scraped("own-others").as_str().unwrap())
    );
}

#[test]
fn a_pod_monitor_takes_the_place_of_annotations() {
    let cluster = Cluster::new();
    cluster.with_own("own", FOREIGN, &["sidecar", "pod-monitor"]);
    let objects = cluster.objects("own");
    let monitor = object(&objects, "PodMonitor");
    assert_eq!("monitoring.coreos.com/v1", monitor["apiVersion"]);
    let patched = objects
        .iter()
        .filter(|object| object["spec"]["template"]["metadata"]["labels"]["inferometer"] == "sidecar");
    let pods: Vec<&Value> = patched.map(pod).collect();
    assert_eq!(2, pods.len());
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    for pod in pods {
        let labels = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value), "{pod}");
        let port = named(&pod["spec"]["initContainers"][0]["ports"], endpoint["port"].as_str().unwrap());
        assert_eq!(9082, port["containerPort"]);
        assert!(!pod["metadata"].to_string().contains("prometheus.io"), "{pod}");
    }
}

#[test]
fn variants_change_what_they_say_and_keep_the_sidecar() {
    let cluster = Cluster::new();
    let spec_with = |component: &str| {
        cluster.with_own(&format!("own-{component}"), FOREIGN, &["sidecar", component]);
        let objects = cluster.objects(&format!("own-{component}"));
        let pod = pod(object(&objects, "StatefulSet")).clone();
        check_sidecar(&pod);
        pod["spec"].clone()
    };
    assert_eq!(json!(true), spec_with("share-processes")["shareProcessNamespace"]);
    assert_eq!(json!(true), spec_with("host-pid")["hostPID"]);
    let gpu = spec_with("gpu");
    assert_eq!("nvidia", gpu["runtimeClassName"]);
    let sidecar = named(&gpu["initContainers"], "inferometer");
    assert_eq!("all", named(&sidecar["env"], "NVIDIA_VISIBLE_DEVICES")["value"]);
    assert_eq!("utility", named(&sidecar["env"], "NVIDIA_DRIVER_CAPABILITIES")["value"]);
    assert!(!sidecar.to_string().contains("nvidia.com/gpu"), "{sidecar}");
    let last = spec_with("last-scrape");
    let sidecar = named(&last["initContainers"], "inferometer");
    let linger = named(&sidecar["env"], "INFEROMETER_WEB_SHUTDOWN_LINGER")["value"].as_str().unwrap();
    let linger = humantime::parse_duration(linger).unwrap().as_secs();
    assert!(linger + 2 < last["terminationGracePeriodSeconds"].as_u64().unwrap());
}

#[test]
fn tee_needs_to_be_told_the_servers_command() {
    let cluster = Cluster::new();
    let silent = FOREIGN.replace("command: [serve], ", "");
    cluster.with_own("own", &silent, &["sidecar", "tee"]);
    let error = cluster.try_text("own").unwrap_err();
    assert!(error.contains("/spec/template/spec/containers/0/command"), "{error}");
    // The file that it copies the binary from is in the image, and so is `cp`: only Debian's base is known to have it.
    let image = std::fs::read_to_string(source().join("../Dockerfile")).unwrap();
    assert!(image.contains("ARG BASE=debian:"), "components/tee copies the binary with the image's own cp");
    assert!(image.contains(" /usr/local/bin/inferometer\n"), "components/tee copies this file");
}

#[test]
fn the_node_has_one_that_reads_only() {
    let objects = Cluster::new().objects("node");
    let pod = pod(object(&objects, "DaemonSet"));
    let container = &pod["spec"]["containers"][0];
    check_probes(container);
    let security = &container["securityContext"];
    assert_eq!(json!(0), security["runAsUser"]);
    assert_eq!(json!({"drop": ["ALL"]}), security["capabilities"]);
    assert_eq!(
        (json!(true), json!(false)),
        (security["readOnlyRootFilesystem"].clone(), security["allowPrivilegeEscalation"].clone())
    );
    assert_eq!(json!(true), named(&container["volumeMounts"], "pods")["readOnly"]);
    assert_eq!("/var/log/pods", named(&pod["spec"]["volumes"], "pods")["hostPath"]["path"]);
    assert_eq!("9082", pod["metadata"]["annotations"]["prometheus.io/port"]);
    let objects = Cluster::new().objects("examples/node-pod-monitor");
    let endpoint = &object(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(
        (json!("inferometer"), json!(true)),
        (endpoint["port"].clone(), endpoint["honorLabels"].clone())
    );
    assert_eq!(Value::Null, self::pod(object(&objects, "DaemonSet"))["metadata"]["annotations"]);
}

#[test]
fn autoscalers_ask_for_what_is_there() {
    let cluster = Cluster::new();
    let demo = Demo::start();
    let shown = demo.metrics();
    let objects = cluster.objects("examples/keda");
    let scaled = object(&objects, "ScaledObject");
    assert_eq!("keda.sh/v1alpha1", scaled["apiVersion"]);
    assert_eq!(object(&objects, "Deployment")["metadata"]["name"], scaled["spec"]["scaleTargetRef"]["name"]);
    let trigger = &scaled["spec"]["triggers"][0];
    assert_eq!("prometheus", trigger["type"]);
    // KEDA's metadata is a map of texts: a number would be refused.
    assert!(trigger["metadata"].as_object().unwrap().values().all(Value::is_string), "{trigger}");
    let keda = trigger["metadata"]["query"].as_str().unwrap();

    let values = source().join("examples/prometheus-adapter/adapter-values.yaml");
    let values = parse(&std::fs::read_to_string(values).unwrap()).remove(0);
    let rule = &values["rules"]["custom"][0];
    let series = rule["seriesQuery"].as_str().unwrap();
    let objects = cluster.objects("examples/prometheus-adapter");
    let scaler = object(&objects, "HorizontalPodAutoscaler");
    assert_eq!(rule["name"]["as"], scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]);
    // As prometheus-adapter fills it in.
    let (name, _) = series.split_once('{').unwrap();
    let adapter = rule["metricsQuery"].as_str().unwrap();
    let adapter =
        adapter.replace("<<.Series>>", name).replace("<<.LabelMatchers>>", "namespace=\"n\",pod=~\"p\"");
    let adapter = adapter.replace("<<.GroupBy>>", "pod");
    for query in [keda, series, &adapter] {
        assert!(query.contains("ts_queue_latency_seconds_sum{"), "{query}");
    }
    assert!(shown.contains("\nts_queue_latency_seconds_sum{"), "the demo shows what they ask for");
    check_queries(&[keda, series, &adapter]);
}

#[test]
fn the_readme_names_every_component_and_kustomization() {
    let readme = std::fs::read_to_string(source().join("README.md")).unwrap();
    for name in components() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
    for name in
        kustomizations(&source(), "Kustomization").iter().filter(|name| *name != "." && *name != "base")
    {
        assert!(readme.contains(&format!("({name})")), "{name}");
    }
}

/// What the issue of every pod with a sidecar is.
fn check_sidecar(pod: &Value) {
    let (spec, annotations) = (&pod["spec"], &pod["metadata"]["annotations"]);
    let wanted = json!({"scrape": "true", "port": "9082", "path": "/metrics"});
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(*value, annotations[format!("prometheus.io/{name}")], "{name}");
    }
    // The kubelet starts init containers in this order and stops sidecars in the opposite one, after the others.
    let sidecars =
        spec["initContainers"].as_array().unwrap().iter().filter(|it| it["restartPolicy"] == "Always");
    assert_eq!(vec!["inferometer"], sidecars.map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>());
    let sidecar = named(&spec["initContainers"], "inferometer");
    check_probes(sidecar);
    assert_eq!(json!([{"name": "inferometer", "containerPort": 9082}]), sidecar["ports"]);
    let resources = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}});
    assert_eq!(resources, sidecar["resources"]);
    let security = json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(security, sidecar["securityContext"]);
    // It reads what the server writes, and nobody else has its state.
    let server = &spec["containers"][0];
    let logs = named(&sidecar["volumeMounts"], "inferometer-logs");
    assert_eq!((&json!("/logs"), &json!(true)), (&logs["mountPath"], &logs["readOnly"]));
    assert_eq!("/logs", named(&server["volumeMounts"], "inferometer-logs")["mountPath"]);
    assert!(!spec["containers"].to_string().contains("inferometer-state"));
    for name in ["inferometer-logs", "inferometer-state"] {
        assert!(named(&spec["volumes"], name)["emptyDir"]["sizeLimit"].is_string(), "{name} has a limit");
    }
    // What is mounted is there, and each once.
    for container in
        spec["initContainers"].as_array().unwrap().iter().chain(spec["containers"].as_array().unwrap())
    {
        for mount in container["volumeMounts"].as_array().unwrap_or(&Vec::new()) {
            named(&spec["volumes"], mount["name"].as_str().unwrap());
        }
    }
    let volumes = spec["volumes"].as_array().unwrap();
    let names: BTreeSet<&str> = volumes.iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert_eq!(volumes.len(), names.len());
}

/// Liveness only: a sidecar's readiness is the pod's.
fn check_probes(container: &Value) {
    assert_eq!(Value::Null, container["readinessProbe"]);
    assert_eq!(Value::Null, container["startupProbe"]);
    let probe = &container["livenessProbe"]["httpGet"];
    assert_eq!("/-/healthy", probe["path"]);
    assert_eq!(9082, named(&container["ports"], probe["port"].as_str().unwrap())["containerPort"]);
}

/// TorchServe writes where the sidecar reads, as the mounted file says.
fn check_torchserve(pod: &Value, configuration: &Value) {
    let server = &pod["spec"]["containers"][0];
    for name in ["LOG_LOCATION", "METRICS_LOCATION"] {
        assert_eq!("/logs", named(&server["env"], name)["value"], "{name}");
    }
    let mount = named(&server["volumeMounts"], "inferometer-log4j2");
    let file = named(&server["env"], "LOG4J_CONFIGURATION_FILE")["value"].as_str().unwrap();
    let (folder, name) = file.rsplit_once('/').unwrap();
    assert_eq!(folder, mount["mountPath"]);
    let text = configuration["data"][name].as_str().expect("the ConfigMap holds the file");
    let shipped = std::fs::read_to_string(source().join("../torchserve/log4j2.xml")).unwrap();
    assert_eq!(shipped, text, "components/torchserve/log4j2.xml is a copy of deploy/torchserve/log4j2.xml");
    let volume = named(&pod["spec"]["volumes"], "inferometer-log4j2");
    assert_eq!(configuration["metadata"]["name"], volume["configMap"]["name"]);
}

/// Expressions that Prometheus cannot read are no expressions.
fn check_queries(queries: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    let rule = |(number, query): (usize, &&str)| json!({"record": format!("r{number}"), "expr": query});
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let text = json!({"groups": [{"name": "g", "rules": rules}]}).to_string();
    std::fs::write(&file, text).unwrap();
    let output = tool("promtool").args(["check", "rules"]).arg(&file).output().expect("Debian's prometheus");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    assert!(said.contains(&format!("SUCCESS: {} rules found", queries.len())), "{said}");
}

/// What `kubernetes-validate` objects to in these texts; custom resources have no schema there.
fn complaints(version: &str, texts: &[String]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut check = tool("kubernetes-validate");
    check.args(["--strict", "-k", version]);
    for (number, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        std::fs::write(&file, text).unwrap();
        check.arg(file);
    }
    let output = check.output().expect("kubernetes-validate (tests/run.sh installs it)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    let objects: usize = texts.iter().map(|text| parse(text).len()).sum();
    assert_eq!(objects, said.lines().count(), "a line for each object:\n{said}");
    let is_custom = |line: &str| {
        CUSTOM.iter().any(|kind| line.contains(&format!("Couldn't find schema for kind {kind} ")))
    };
    said.lines().filter(|line| !line.starts_with("INFO ") && !is_custom(line)).map(str::to_owned).collect()
}

fn components() -> Vec<String> {
    let names = kustomizations(&source().join("components"), "Component");
    assert!(names.len() >= 8, "{names:?}");
    names
}

/// The folders below one that hold a `kustomization.yaml` of this kind, in order; `.` is the folder itself.
fn kustomizations(root: &Path, kind: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
        let Ok(text) = std::fs::read_to_string(folder.join("kustomization.yaml")) else { continue };
        if parse(&text).remove(0)["kind"] == kind {
            let name = folder.strip_prefix(root).unwrap().display().to_string();
            found.insert(if name.is_empty() { ".".to_owned() } else { name });
        }
    }
    found.into_iter().collect()
}

fn kind_of(object: &Value) -> String {
    object["kind"].as_str().expect("every object has a kind").to_owned()
}

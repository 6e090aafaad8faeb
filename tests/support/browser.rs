//! A real browser: Chromium without a window, told what to do by the DevTools protocol over a pipe
//! (<https://chromedevtools.github.io/devtools-protocol/>). What it logs, throws and asks the network for is kept.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than any answer takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing but the page: no first run, no updates, no calls home.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--use-mock-keychain",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
];

/// One page in a browser of its own; the browser ends with it.
pub(crate) struct Page {
    browser: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    commands_sent: u64,
    /// All events so far.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Page {
    /// A page that is open at this address.
    pub(crate) fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        // The browser reads commands from descriptor 3 and answers on 4; `exec` keeps it our child.
        let script = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#;
        let mut browser = Command::new("sh")
            .args(["-c", script, "chromium", &format!("--user-data-dir={}", profile.path().display())])
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let commands = browser.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(browser.stdout.take().expect("stdout is piped"));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for message in answers.split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).expect("a message is JSON");
                // Nobody listens any more when the test has ended.
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut page = Self {
            browser,
            commands,
            messages,
            session: None,
            commands_sent: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            page.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.size(1280, 900);
        page.call("Page.navigate", json!({"url": url}));
        page
    }

    /// Sends a command and waits for its result.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.commands_sent += 1;
        let id = self.commands_sent;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("the browser reads commands");
        loop {
            let message = self
                .messages
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method}: {error}; is chromium installed?"));
            if message["id"] == json!(id) {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// The value of a JavaScript expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Sets the size of the window, in CSS pixels.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let parameters =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// Sets what the reader prefers: `light` or `dark`.
    pub(crate) fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Presses and releases a key that has no text.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "code": key}));
        }
    }

    /// A PNG of the whole page, or of what the window shows.
    pub(crate) fn screenshot(&mut self, is_whole: bool) -> Vec<u8> {
        use base64::Engine;
        let result =
            self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": is_whole}));
        let text = result["data"].as_str().expect("an image");
        base64::prelude::BASE64_STANDARD.decode(text).expect("base64")
    }

    /// The events of this name so far.
    pub(crate) fn events(&self, method: &str) -> Vec<&Value> {
        let named = self.events.iter().filter(|event| event["method"] == json!(method));
        named.map(|event| &event["params"]).collect()
    }

    /// What the console has to complain about: errors and warnings of the page, of the browser about it (a policy
    /// that was violated among them), and exceptions.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let is_bad = |level: &Value| level == &json!("error") || level == &json!("warning");
        let logged =
            self.events("Log.entryAdded").into_iter().filter(|event| is_bad(&event["entry"]["level"]));
        let said = self.events("Runtime.consoleAPICalled").into_iter().filter(|event| is_bad(&event["type"]));
        let thrown = self.events("Runtime.exceptionThrown");
        logged.chain(said).chain(thrown).map(Value::to_string).collect()
    }

    /// Addresses that were asked for.
    pub(crate) fn requested(&self) -> Vec<String> {
        let events = self.events("Network.requestWillBeSent");
        events.iter().filter_map(|event| event["request"]["url"].as_str()).map(str::to_owned).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended already; nothing is left to do then.
        self.browser.kill().ok();
        self.browser.wait().ok();
    }
}

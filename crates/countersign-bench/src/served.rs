use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign::ProvenKey;
use countersign_service::{ConfigSource, Overrides, ProxyKind, ServiceError};
use countersign_store::{NewCredential, Registry, system_time};
use tokio::runtime::Runtime;

use crate::{
    order::{Order, ed25519},
    process::processor_time_of,
};

/// The largest content of a request.
const CONTENT_BYTES: u64 = 2 << 30;

/// A service, as a process of its own.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Starts a reverse proxy in front of this upstream, with its registry in this folder.
    pub(crate) fn forward(folder: &Path, upstream: SocketAddr) -> Self {
        Self::start(&["serve".as_ref(), folder.as_ref(), format!("http://{upstream}").as_ref()])
    }

    /// Starts a verifier that nginx asks.
    pub(crate) fn auth(folder: &Path) -> Self {
        Self::start(&["serve".as_ref(), folder.as_ref()])
    }

    fn start(arguments: &[&std::ffi::OsStr]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has used of processors.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time_of(self.child.id())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the service that is measured: a reverse proxy in front of this upstream, or a verifier that nginx asks. Its registry is in this
/// folder.
pub(crate) fn run(folder: &Path, upstream: Option<&str>) -> Result<(), ServiceError> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = folder.join("serve.toml");
    fs::write(&config, format!("[limits]\ncontent_bytes = {CONTENT_BYTES}\n")).unwrap();
    let asking = match upstream {
        Some(_) => Vec::new(),
        None => vec!["127.0.0.1/32".parse().unwrap()],
    };
    let overrides = Overrides {
        listen: Some(any),
        operations: Some(any),
        origins: vec![format!("https://{}", host()).parse().unwrap()],
        upstreams: upstream.iter().map(|upstream| upstream.parse().unwrap()).collect(),
        auth: upstream.is_none().then_some(ProxyKind::Nginx),
        proxies: asking,
        registry: Some(registry(folder)),
        ..Overrides::default()
    };
    let source = ConfigSource { file: Some(config), overrides };
    let served = countersign_service::run(source, None, |listening| {
        println!("{}", listening.service);
    });
    Runtime::new().unwrap().block_on(served)
}

/// The host of the service.
pub(crate) fn host() -> String {
    Order::unsigned().origin.authority().to_owned()
}

/// Adds the credential of the Ed25519 key to the registry in this folder.
pub(crate) async fn register(folder: &Path) {
    let registry = Registry::open(&registry(folder)).await.unwrap();
    registry.add_application("shop", "live", system_time()).await.unwrap();
    let key = ProvenKey::from(&ed25519());
    registry
        .add_credential(NewCredential::new("shop", "bench", &key), system_time())
        .await
        .unwrap();
    registry.close().await;
}

fn registry(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("registry.db").display())
}

//! The corpus: requests that are one change away from a valid one, and what becomes of them. `tests/corpus` holds them as
//! files for any verifier; [`made`] is where they come from, and [`run`] sends them.

mod case;
mod content;
mod freshness;
mod heads;
mod keys;
mod made;
mod pairs;
mod policy;
mod run;
mod settings;
mod signatures;
mod valid;

use std::path::{Path, PathBuf};

use countersign::PrivateKey;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    case::{Case, Expect, Field, Group, Step},
    run::{Protocol, Run, run},
    settings::{KeySettings, KeyState, PolicySettings, ServerSettings, Settings},
};

use self::pairs::PairsOnOneLine;

/// The number of the registered HMAC key.
const ACTIVE_HMAC: u8 = 6;

fn hmac() -> PrivateKey {
    PrivateKey::hmac_sha256([ACTIVE_HMAC; 16], &[ACTIVE_HMAC; 32]).unwrap()
}

const SETTINGS: &str = "settings.json";

/// Settings, and cases for servers that are set up by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// How the servers are set up.
    pub settings: Settings,
    /// The cases.
    pub groups: Vec<Group>,
}

impl Corpus {
    /// Where its files are.
    pub fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
    }

    /// As the tables of this harness have it.
    pub fn made() -> Self {
        let groups = vec![
            valid::group(),
            signatures::group(),
            policy::group(),
            keys::group(),
            heads::group(),
            freshness::group(),
            content::group(),
        ];
        Self { settings: Settings::made(), groups }
    }

    /// As its files have it.
    pub fn read() -> Self {
        let mut paths: Vec<_> =
            Self::directory().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let (settings, groups): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| path.ends_with(SETTINGS));
        let groups = groups.iter().map(|path| parse(path)).collect();
        Self { settings: parse(&settings[0]), groups }
    }

    /// Its files: names and contents.
    pub fn files(&self) -> Vec<(String, String)> {
        let settings = (SETTINGS.to_owned(), text(&self.settings));
        let groups = self.groups.iter();
        let groups = groups.map(|group| (format!("{}.json", group.group), text(group)));
        groups.chain([settings]).collect()
    }

    /// Writes its files.
    pub fn write(&self) {
        for (name, text) in self.files() {
            std::fs::write(Self::directory().join(name), text).unwrap();
        }
    }

    /// The cases of all groups.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.groups.iter().flat_map(|group| &group.cases)
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PairsOnOneLine::default());
    value.serialize(&mut writer).unwrap();
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap()
}

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::{Timestamp, Window};
use siphasher::sip128::SipHasher24;

use super::{
    fingerprint::Fingerprint,
    memory_limit::MemoryLimit,
    record::{TALLIES, bucket, span},
    set::Set,
    shard::{Bucket, SHARDS, Shard},
    tally::{Span, Tally},
};
use crate::nonces::{ceiling::Owner, fingerprint_key::FingerprintKey};

/// The first bytes of a snapshot file. They name this program and the format.
const MAGIC: &[u8; 16] = b"countersign\0mem1";

/// The state of a guard at its end.
pub(super) struct Snapshot {
    pub(super) window: Window,
    /// The ceiling at that time. Any later accepted claim has raised it.
    pub(super) reached: Timestamp,
    pub(super) saved_at: Timestamp,
    pub(super) key: FingerprintKey,
    pub(super) shards: Vec<Shard>,
    pub(super) tallies: Vec<Tally>,
}

impl Snapshot {
    /// Returns whether a guard can continue from this snapshot, if it found the ceiling `found`.
    ///
    /// Refuses a snapshot so old that all its nonces have expired. By then a copy from a backup looks the same as a snapshot
    /// saved just now.
    pub(super) fn is_current(&self, found: Option<Timestamp>, now: Timestamp) -> bool {
        found == Some(self.reached)
            && self.saved_at <= now.plus(self.window.skew())
            && now <= self.saved_at.plus(self.window.lifetime())
    }

    /// Encodes the snapshot: numbers of fixed width, little-endian, with a checksum at the end.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes(MAGIC.to_vec());
        let (max_age, skew) = seconds(self.window);
        bytes.number(max_age);
        bytes.number(skew);
        bytes.number(self.reached.unix());
        bytes.number(self.saved_at.unix());
        bytes.0.extend(self.key.to_bytes());
        bytes.length(self.shards.len());
        for shard in &self.shards {
            bytes.number(shard.low_water());
            bytes.length(shard.buckets().len());
            for bucket in shard.buckets() {
                bytes.number(bucket.number);
                bytes.set(&bucket.fingerprints);
            }
        }
        bytes.length(self.tallies.len());
        for tally in &self.tallies {
            bytes.length(tally.spans().len());
            for span in tally.spans() {
                bytes.number(span.number());
                bytes.length(span.counts().len());
                for (credential, count) in span.counts() {
                    bytes.number(credential.cast_unsigned());
                    bytes.length(count);
                }
            }
        }
        let checksum = checksum(&bytes.0);
        bytes.0.extend(checksum);
        bytes.0
    }

    /// Decodes the bytes of [`Snapshot::to_bytes`]. `None` if any bit differs, or if the snapshot has another window.
    pub(super) fn from_bytes(
        bytes: &[u8],
        window: Window,
        memory_limit: &Arc<MemoryLimit>,
    ) -> Option<Self> {
        let (bytes, last) = bytes.split_last_chunk::<16>()?;
        if *last != checksum(bytes) {
            return None;
        }
        let mut bytes = Remaining(bytes.strip_prefix(MAGIC)?);
        if (bytes.number()?, bytes.number()?) != seconds(window) {
            return None;
        }
        let reached = Timestamp::from_unix(bytes.number()?);
        let saved_at = Timestamp::from_unix(bytes.number()?);
        let key = FingerprintKey::from_bytes(&bytes.array()?);
        let shards = bytes.list(|bytes| {
            let low_water = bytes.number()?;
            let buckets = bytes.list(|bytes| {
                let number = bytes.number()?;
                let fingerprints = bytes.entries()?.map(Fingerprint::from);
                Some(Bucket { number, fingerprints: Set::remembered(fingerprints, memory_limit) })
            })?;
            let in_order = buckets.is_sorted_by(|one, next| one.number < next.number);
            in_order.then(|| Shard::remembered(low_water, bucket(window), buckets))
        })?;
        let tallies = bytes.list(|bytes| {
            let spans = bytes.list(|bytes| {
                let number = bytes.number()?;
                let counts = bytes.entries()?.map(|entry| {
                    let (credential, count) = (entry as u64, (entry >> 64) as usize);
                    (credential.cast_signed(), count)
                });
                Some(Span::remembered(number, counts, memory_limit))
            })?;
            let in_order = spans.is_sorted_by(|one, next| one.number() < next.number());
            in_order.then(|| Tally::remembered(span(window), spans))
        })?;
        let is_whole = bytes.0.is_empty() && shards.len() == SHARDS && tallies.len() == TALLIES;
        is_whole.then_some(Self { window, reached, saved_at, key, shards, tallies })
    }

    /// Writes the snapshot to a file, with access for its owner only. The file appears in one step, whole or not at all.
    pub(super) fn write(&self, file: &Path, owner: Owner) -> io::Result<()> {
        match check_ours(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let new = beside(file, owner, "new");
        let written = write_new(&new, &self.to_bytes()).and_then(|()| fs::rename(&new, file));
        if written.is_err() {
            drop(fs::remove_file(&new));
        }
        written?;
        sync_folder(file)
    }

    /// Reads the snapshot from a file, and removes the file. Of several guards that try, only one gets it. `None` if there is
    /// no file, or if the snapshot is damaged or has another window.
    pub(super) fn take(
        file: &Path,
        owner: Owner,
        window: Window,
        memory_limit: &Arc<MemoryLimit>,
    ) -> io::Result<Option<Self>> {
        match check_ours(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            ours => ours?,
        }
        let taken = beside(file, owner, "taken");
        match fs::rename(file, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        let bytes = fs::read(&taken);
        fs::remove_file(&taken)?;
        sync_folder(file)?;
        let snapshot = Self::from_bytes(&bytes?, window, memory_limit);
        if snapshot.is_none() {
            tracing::warn!(file = %file.display(), "the saved memory of a replay guard is damaged, or has another window");
        }
        Ok(snapshot)
    }
}

/// Refuses a file of another program, so that a path given by mistake destroys no data.
fn check_ours(file: &Path) -> io::Result<()> {
    let mut start = [0; MAGIC.len()];
    let read = File::open(file)?.read_exact(&mut start);
    match read {
        Ok(()) if start == *MAGIC => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is not one that a replay guard saved",
        )),
    }
}

fn beside(file: &Path, owner: Owner, what: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(format!(".{:x}.{what}", owner.get()));
    PathBuf::from(name)
}

fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the name of a file durable, by syncing its folder.
fn sync_folder(file: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn seconds(window: Window) -> (u64, u64) {
    (window.max_age().as_secs(), window.skew().as_secs())
}

/// Returns the checksum. It finds accidental damage only: an attacker with write access to the file can write the registry as
/// well.
fn checksum(bytes: &[u8]) -> [u8; 16] {
    SipHasher24::new().hash(bytes).as_u128().to_le_bytes()
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn set(&mut self, set: &Set) {
        self.length(set.len());
        for kept in set.iter() {
            self.0.extend(kept.to_le_bytes());
        }
    }
}

/// The bytes not read yet. A length beyond the end allocates no memory.
struct Remaining<'a>(&'a [u8]);

impl<'a> Remaining<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, remaining) = self.0.split_first_chunk()?;
        self.0 = remaining;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| item(self)).collect()
    }

    fn entries(&mut self) -> Option<impl ExactSizeIterator<Item = u128> + use<'a>> {
        let length = usize::try_from(self.number()?).ok()?.checked_mul(16)?;
        let (entries, remaining) = self.0.split_at_checked(length)?;
        self.0 = remaining;
        let (entries, _) = entries.as_chunks::<16>();
        Some(entries.iter().map(|entry| u128::from_le_bytes(*entry)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign::{Claim, Nonce, NonceUse, Policy};

    use super::{super::record::Record, *};

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    fn used(credential: i64, nonce: u8) -> NonceUse {
        NonceUse::new(credential, NOW, Nonce::from_random([nonce; 16]))
    }

    fn snapshot(nonces: u8) -> Snapshot {
        let window = Window::default();
        let record = Record::empty(window, NOW, FingerprintKey::from_bytes(&[7; 16]));
        for nonce in 0..nonces {
            let claim = record.claim(&used(nonce.into(), nonce), NOW);
            assert_eq!(claim, Ok(Claim::Fresh));
        }
        let (key, (shards, tallies)) = (record.key().clone(), record.close());
        Snapshot { window, reached: NOW, saved_at: NOW, key, shards, tallies }
    }

    fn read(bytes: &[u8]) -> Option<Snapshot> {
        Snapshot::from_bytes(bytes, Window::default(), &MemoryLimit::new(0))
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for nonces in [0, 1, 50, 255] {
            let bytes = snapshot(nonces).to_bytes();
            let Snapshot { window, reached, saved_at, key, shards, tallies } =
                read(&bytes).unwrap();
            assert_eq!((window, reached, saved_at), (Window::default(), NOW, NOW));
            let memory_limit = MemoryLimit::new(1 << 20);
            let record = Record::of(window, key, shards, tallies, memory_limit);
            assert_eq!(record.len(), usize::from(nonces));
            for nonce in 0..nonces {
                let claim = record.claim(&used(nonce.into(), nonce), NOW);
                assert_eq!(claim, Ok(Claim::Replayed));
            }
            let too_old =
                NonceUse::new(1, Timestamp::from_unix(NOW.unix() - 1), *used(1, 1).nonce());
            assert!(matches!(record.claim(&too_old, NOW), Ok(Claim::TooOld { .. })));
            assert_eq!(record.claim(&used(1, 255), NOW), Ok(Claim::Fresh));
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_or_differs_in_a_bit_is_nothing() {
        let bytes = snapshot(20).to_bytes();
        assert!(read(&bytes).is_some());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_none(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_none(), "{bit}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn what_no_guard_writes_is_nothing_also_with_its_checksum() {
        let set = || {
            let fingerprints = [1, 2, 3].map(Fingerprint::from);
            Set::remembered(fingerprints.into_iter(), &MemoryLimit::new(0))
        };
        let shard = |numbers: &[u64]| {
            let buckets = numbers.iter().map(|&number| Bucket { number, fingerprints: set() });
            Shard::remembered(0, bucket(Window::default()), buckets.collect())
        };
        let tally = |numbers: &[u64]| {
            let span =
                |&number| Span::remembered(number, [(1, 2)].into_iter(), &MemoryLimit::new(0));
            Tally::remembered(super::span(Window::default()), numbers.iter().map(span).collect())
        };
        let with = |change: &dyn Fn(&mut Snapshot)| {
            let mut snapshot = snapshot(3);
            change(&mut snapshot);
            read(&snapshot.to_bytes()).is_some()
        };
        for (numbers, is_sound) in
            [(&[5, 6][..], true), (&[5], true), (&[], true), (&[5, 5], false), (&[6, 5], false)]
        {
            assert_eq!(with(&|it| it.shards[7] = shard(numbers)), is_sound, "{numbers:?}");
            assert_eq!(with(&|it| it.tallies[7] = tally(numbers)), is_sound, "{numbers:?}");
        }
        assert!(!with(&|it| drop(it.shards.pop())));
        assert!(!with(&|it| it.shards.push(shard(&[]))));
        assert!(!with(&|it| drop(it.tallies.pop())));
        assert!(!with(&|it| it.tallies.push(tally(&[]))));
        let mut longer = snapshot(3).to_bytes();
        longer.truncate(longer.len() - 16);
        longer.push(0);
        longer.extend(checksum(&longer));
        assert!(read(&longer).is_none());
    }

    fn take(file: &Path) -> io::Result<Option<Snapshot>> {
        let owner = Owner::random().unwrap();
        Snapshot::take(file, owner, Window::default(), &MemoryLimit::new(0))
    }

    #[test]
    fn only_a_file_that_is_not_there_is_none_and_what_is_no_snapshot_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nonces");
        assert!(take(&file).unwrap().is_none());
        for other in ["", "short", "somebody's work, longer than what a snapshot begins with"] {
            fs::write(&file, other).unwrap();
            let kind = take(&file).err().map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::InvalidData), "{other}");
            let written = snapshot(1).write(&file, Owner::random().unwrap());
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::InvalidData, "{other}");
            assert_eq!(fs::read_to_string(&file).unwrap(), other);
        }
        let kind = take(folder.path()).err().map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::IsADirectory));
        let written = snapshot(1).write(folder.path(), Owner::random().unwrap());
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        // A file that cannot be taken is an error. It differs from a file already taken by another guard.
        fs::remove_file(&file).unwrap();
        let owner = Owner::random().unwrap();
        snapshot(1).write(&file, owner).unwrap();
        fs::create_dir(beside(&file, owner, "taken")).unwrap();
        assert!(Snapshot::take(&file, owner, Window::default(), &MemoryLimit::new(0)).is_err());
        assert!(take(&file).unwrap().is_some());
        // A file name without a folder is in the current folder.
        sync_folder(Path::new("nonces")).unwrap();
    }

    #[test]
    fn of_several_who_take_a_file_at_once_one_has_it_and_the_others_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nonces");
        for _ in 0..50 {
            snapshot(1).write(&file, Owner::random().unwrap()).unwrap();
            let start = std::sync::Barrier::new(4);
            let taken = std::thread::scope(|scope| {
                let taker = || {
                    start.wait();
                    take(&file).unwrap().is_some()
                };
                let takers = [(); 4].map(|()| scope.spawn(taker));
                takers.map(|taker| taker.join().unwrap())
            });
            assert_eq!(taken.iter().filter(|&&has| has).count(), 1);
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let bytes = snapshot(1).to_bytes();
        // The checksum is made anew, as by an attacker.
        for at in (MAGIC.len()..bytes.len() - 16).step_by(8) {
            let mut bytes = bytes.clone();
            let end = bytes.len() - 16;
            bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            let checksum = checksum(&bytes[..end]);
            bytes[end..].copy_from_slice(&checksum);
            drop(read(&bytes));
        }
        let policy = Policy::default().window(Duration::from_secs(90), Duration::from_secs(10));
        let window = Window::from(&policy.unwrap());
        assert!(Snapshot::from_bytes(&bytes, window, &MemoryLimit::new(0)).is_none());
    }
}

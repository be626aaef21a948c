//! The law of the list's files: whatever becomes of one, the node opens to a list that was in force once, whole, and
//! says truly which; a damaged snapshot is put aside and the one before it is taken, with the log since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use palang_core::decision::Revision;
use palang_core::digest::{entry_digest, Digest};
use palang_maps::Writer;
use tempfile::TempDir;

/// A node's folder with two snapshots and a log, and every list that it ever held.
pub struct Shelf {
    state: TempDir,
    files: Vec<PathBuf>,
    lists: BTreeMap<Revision, Vec<String>>,
}

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    };
    made.expect("a folder of our own")
}

impl Shelf {
    pub fn new() -> Shelf {
        let (state, live) = (folder(), folder());
        let mut lists = BTreeMap::new();
        let mut writer = Writer::open(live.path(), state.path()).expect("a fresh node");
        let mut entries: BTreeMap<String, String> = BTreeMap::new();
        for n in 1..=12u64 {
            let subject = format!("+6281{:07}", n % 5);
            let stack = match n % 4 {
                0 => "",
                1 => "order reject enforce both",
                2 => "noc reject shadow call @intl-a",
                _ => "noc allow enforce both; noc label enforce message until=4102444800",
            };
            let line = format!("{subject}\t{stack}");
            entries.remove(&subject);
            if !stack.is_empty() {
                entries.insert(subject, line.clone());
            }
            let digest = digest(entries.values());
            let next = Revision { epoch: 1, n };
            writer
                .apply(next, vec![line], digest, 0)
                .expect("a good revision");
            lists.insert(next, entries.values().cloned().collect());
            if n == 4 || n == 8 {
                writer.checkpoint().expect("a snapshot");
            }
        }
        drop(writer);
        let found = fs::read_dir(state.path()).expect("the folder");
        let mut files: Vec<_> = found.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        assert!(files.len() >= 3, "{files:?}");
        Shelf { state, files, lists }
    }

    /// Damages one file as `plan` says (which, then how often: where, and what instead), and opens the node.
    pub fn check(&self, plan: &[u8]) {
        let [which, cut, changes @ ..] = plan else { return };
        let (state, live) = (folder(), folder());
        for path in &self.files {
            fs::copy(path, state.path().join(path.file_name().expect("a name"))).expect("a copy");
        }
        let path = &self.files[usize::from(*which) % self.files.len()];
        let path = state
            .path()
            .join(path.strip_prefix(self.state.path()).expect("inside"));
        let mut bytes = fs::read(&path).expect("the file");
        for change in changes.chunks_exact(3) {
            // Most of a snapshot is empty: every other change falls into its first page.
            let at = usize::from(change[0]) << 8 | usize::from(change[1]);
            let most = if change[2] % 2 == 0 {
                bytes.len().min(128)
            } else {
                bytes.len()
            };
            if let Some(byte) = bytes.get_mut(at % most.max(1)) {
                *byte = byte.wrapping_add(change[2].max(1));
            }
        }
        match cut % 4 {
            0 => bytes.truncate(bytes.len() * usize::from(*cut) / 256),
            1 => bytes.extend_from_slice(changes),
            _ => {}
        }
        fs::write(&path, &bytes).expect("written");

        let mut writer = Writer::open(live.path(), state.path()).expect("a node that starts");
        let (revision, entries) = (writer.revision(), sorted(writer.entries()));
        let known = self.lists.get(&revision);
        assert_eq!(known, Some(&entries), "no list of revision {revision:?}");
        assert_eq!(writer.digest(), digest(entries.iter()));
        // One damaged file never costs more than the log's own tail.
        let is_log = path.to_string_lossy().contains("log");
        assert!(
            is_log || revision.n == 12,
            "a damaged snapshot cost revisions: {revision:?}"
        );
        // And work goes on.
        let next = Revision {
            n: revision.n + 1,
            ..revision
        };
        let line = "+77012345678\torder reject enforce both".to_owned();
        let all: Vec<String> = entries.into_iter().chain([line.clone()]).collect();
        writer
            .apply(next, vec![line], digest(all.iter()), 0)
            .expect("the next revision");
        drop(writer);
        let writer = Writer::open(live.path(), state.path()).expect("a node that starts again");
        assert_eq!((writer.revision(), sorted(writer.entries())), (next, sorted(all)));
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn digest<'a>(lines: impl Iterator<Item = &'a String>) -> Digest {
    let mut sum = Digest::default();
    for line in lines {
        sum += entry_digest(line.as_bytes());
    }
    sum
}

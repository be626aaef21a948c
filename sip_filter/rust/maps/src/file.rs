//! Files and folders as this crate needs them: mapped words, locks, durable renames. All `unsafe` is here.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Once;

use memmap2::{MmapOptions, MmapRaw};
use palang_core::decision::Revision;

/// A file's bytes as shared words. The file must never be cut while it is mapped.
pub struct Mapped(MmapRaw);

impl Mapped {
    /// Maps a file for reading and writing.
    pub fn shared(file: &File) -> io::Result<Mapped> {
        MmapOptions::new().map_raw(file).map(Mapped)
    }

    /// Maps a file for reading. Storing into its words would end the process.
    pub fn reading(file: &File) -> io::Result<Mapped> {
        MmapOptions::new().map_raw_read_only(file).map(Mapped)
    }

    /// Whole words only.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and covers `len` bytes. Other processes change
        // it by whole-word atomic stores only; every bit pattern is a valid word. An atomic load of one machine word
        // is a plain load, which a read-only mapping allows.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<AtomicU64>(), self.0.len() / 8) }
    }

    /// The bytes, for the one writer, who alone changes them and does not while it holds the slice.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: as above; the only thread that stores into this mapping is the caller's.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }

    /// Asks for huge pages: one miss of the address cache less per look-up, where the kernel grants them.
    pub fn advise_huge(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.advise(memmap2::Advice::HugePage);
    }
}

/// A new file that gets its name when it is whole; without one it goes when we let go of it.
pub struct Unfinished {
    pub file: File,
    name: PathBuf,
    named: bool,
}

impl Unfinished {
    /// A file that only its owner writes and its group reads.
    pub fn create(name: &Path) -> io::Result<Unfinished> {
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640);
        let file = options.open(temporary(name))?;
        Ok(Unfinished {
            file,
            name: name.to_owned(),
            named: false,
        })
    }

    /// The same of this many zeroed bytes whose room is taken now: a full tmpfs is an error here, and not a SIGBUS
    /// later.
    pub fn reserve(name: &Path, bytes: usize) -> io::Result<Unfinished> {
        let unfinished = Unfinished::create(name)?;
        let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: plain system call on a descriptor that we own.
        match unsafe { libc::posix_fallocate(unfinished.file.as_raw_fd(), 0, length) } {
            0 => Ok(unfinished),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Gives it its name.
    pub fn settle(&mut self) -> io::Result<()> {
        std::fs::rename(temporary(&self.name), &self.name)?;
        self.named = true;
        Ok(())
    }

    /// Gives it its name so that it is there after a power cut: file, rename, folder.
    pub fn settle_durably(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.settle()?;
        match self.name.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named {
            let _ = remove(&temporary(&self.name));
        }
    }
}

/// Takes a lock for as long as the file stays open, or fails at once with `WouldBlock`. The kernel drops it when the
/// holder dies, however it dies.
pub fn lock(file: &File) -> io::Result<()> {
    // SAFETY: plain system call on a descriptor that we own.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many forks lie between this process and the first that asked, without a system call: whoever remembers the
/// count knows later whether it is still in the process that it was in.
pub fn forks() -> u64 {
    static FORKS: AtomicU64 = AtomicU64::new(0);
    static TOLD: Once = Once::new();
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    TOLD.call_once(|| {
        // SAFETY: the handler lives as long as the program and does what a handler may do after a fork: one atomic add.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(count)) };
        assert_eq!(refused, 0, "there is no memory for a fork handler");
    });
    FORKS.load(Ordering::Relaxed)
}

/// Makes a folder and those above it (0750) unless they are there.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// A name `<stem>.<revision>` that nothing has yet; `-<k>` is added if need be.
pub fn free_name(folder: &Path, stem: &str, revision: Revision) -> PathBuf {
    let plain = folder.join(format!("{stem}.{revision}"));
    let others = (2u32..).map(|k| folder.join(format!("{stem}.{revision}-{k}")));
    let free = std::iter::once(plain.clone())
        .chain(others)
        .find(|path| !path.exists());
    free.unwrap_or(plain)
}

/// The files of a folder whose names are `<stem>.<rest>`, as (rest, path), without unfinished ones.
pub fn files(folder: &Path, stem: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
        if let Some(rest) = rest.filter(|rest| !rest.ends_with(UNFINISHED)) {
            found.push((rest.to_owned(), path));
        }
    }
    Ok(found)
}

/// Removes what a killed writer left unfinished.
pub fn sweep(folder: &Path, stems: &[&str]) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.ends_with(UNFINISHED) && stems.iter().any(|stem| name.starts_with(stem)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file; one that is gone already is as good.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const UNFINISHED: &str = ".tmp";

fn temporary(name: &Path) -> PathBuf {
    let mut temporary = name.as_os_str().to_owned();
    temporary.push(UNFINISHED);
    temporary.into()
}

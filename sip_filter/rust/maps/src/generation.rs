//! One generation: the file `list.<g>`, mapped. It gets its name when it is whole, and is never cut.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use palang_core::list::{Layout, View};

use crate::file::{files, remove, Mapped, Unfinished};

pub struct Generation {
    image: Option<Mapped>,
    /// The image of no list: what readers hold before there is one.
    blank: Box<[AtomicU64]>,
    layout: Layout,
    number: u64,
    /// The writer's, until it has its name.
    unnamed: Option<Unfinished>,
}

impl Generation {
    /// Generation 0: no list, revision 0.0. Every request passes.
    pub fn none() -> Generation {
        let layout = Layout::for_counts(0, 0, 0);
        let blank: Box<[AtomicU64]> = (0..layout.words()).map(|_| AtomicU64::new(0)).collect();
        layout.begin(&blank, 0);
        Generation {
            image: None,
            blank,
            layout,
            number: 0,
            unnamed: None,
        }
    }

    /// Maps a generation for reading.
    pub fn open(live: &Path, number: u64) -> io::Result<Generation> {
        let path = path(live, number);
        let image = Mapped::reading(&File::open(&path)?)?;
        let layout = Layout::read(image.words()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        })?;
        image.advise_huge();
        Ok(Generation {
            image: Some(image),
            blank: Box::default(),
            layout,
            number,
            unnamed: None,
        })
    }

    /// The writer's: an unnamed, empty image. It takes its name by `settle`.
    pub fn create(live: &Path, number: u64, layout: Layout, epoch: u32) -> io::Result<Generation> {
        let file = Unfinished::reserve(&path(live, number), layout.words() * 8)?;
        let image = Mapped::shared(&file.file)?;
        image.advise_huge();
        layout.begin(image.words(), epoch);
        Ok(Generation {
            image: Some(image),
            blank: Box::default(),
            layout,
            number,
            unnamed: Some(file),
        })
    }

    /// The writer's: an unnamed image whose bytes are in the unfinished file already.
    pub fn adopt(file: Unfinished, number: u64) -> io::Result<Generation> {
        let image = Mapped::shared(&file.file)?;
        let layout = Layout::read(image.words()).map_err(io::Error::other)?;
        image.advise_huge();
        Ok(Generation {
            image: Some(image),
            blank: Box::default(),
            layout,
            number,
            unnamed: Some(file),
        })
    }

    /// Gives the file its name, so that readers find it.
    pub fn settle(&mut self) -> io::Result<()> {
        self.unnamed.take().map_or(Ok(()), |mut file| file.settle())
    }

    pub fn view(&self) -> View<'_> {
        let words = self.image.as_ref().map_or(&*self.blank, Mapped::words);
        View::over(words, self.layout)
    }

    /// Its number; 0 means that there is no list.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The writer's: all bytes of the image.
    pub fn bytes(&self) -> &[u8] {
        self.image.as_ref().map_or(&[], Mapped::bytes)
    }
}

pub fn path(live: &Path, number: u64) -> PathBuf {
    live.join(format!("list.{number}"))
}

/// The numbers of the generations that have files.
pub fn numbers(live: &Path) -> io::Result<Vec<u64>> {
    Ok(files(live, "list")?
        .into_iter()
        .filter_map(|(rest, _)| rest.parse().ok())
        .collect())
}

/// Takes the name from a generation; whoever has it mapped keeps it.
pub fn unlink(live: &Path, number: u64) -> io::Result<()> {
    remove(&path(live, number))
}

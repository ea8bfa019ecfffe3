//! The files of recordings.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use media_core::record::{Format, Mended, Mender};

use super::{Recorders, extension};

/// A recording that an earlier process has left behind; its file is whole now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The recording's id.
    pub id: String,
    /// The file's format.
    pub format: Format,
    /// The file's length in time.
    pub duration: Duration,
    /// The file's length in octets; 0 when nothing of it could be used and it is gone.
    pub size: u64,
    /// The file's samples a second; 0 when it is gone.
    pub rate: u32,
    /// The file's channels; 0 when it is gone.
    pub channels: u8,
    /// When it was last written to.
    pub written: SystemTime,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Part {
    pub(super) fn create(folder: &Path, id: &str, format: Format) -> io::Result<Self> {
        let path = folder.join(format!("{id}.{}.part", extension(format)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, len: 0 })
    }

    /// Appends `octets`, then puts `header` at the beginning.
    pub(super) fn write(&mut self, octets: &[u8], header: Option<&[u8]>) -> io::Result<()> {
        self.file.write_all(octets)?;
        self.len += octets.len() as u64;
        // After what it tells of: whoever reads in between finds fewer samples told than there are.
        header.map_or(Ok(()), |header| self.file.write_all_at(header, 0))
    }

    /// The file is whole: it gets its name. Its length in octets.
    pub(super) fn finish(self) -> io::Result<u64> {
        fs::rename(&self.path, self.path.with_extension(""))?;
        Ok(self.len)
    }

    /// The file could not be written to its end: what there is becomes a whole file. `None` when there is nothing of use.
    pub(super) fn rescue(self, format: Format) -> io::Result<Option<Mended>> {
        mend(&self.file, &self.path, format)
    }
}

/// Makes a file whole that nobody finished, and gives it its name; one without any use goes.
fn mend(file: &File, path: &Path, format: Format) -> io::Result<Option<Mended>> {
    let len = file.metadata()?.len();
    let mut mender = Mender::new(format);
    let mut octets = Vec::new();
    let mended = loop {
        let (at, wanted) = mender.wants();
        octets.resize(wanted, 0);
        let read = read_at_most(file, &mut octets, at)?;
        if let Some(answer) = mender.read(&octets[..read], len) {
            break answer;
        }
    };
    match &mended {
        Some(Mended { len, patch, .. }) => {
            file.set_len(*len)?;
            if let Some((at, patch)) = patch {
                file.write_all_at(patch, *at)?;
            }
            fs::rename(path, path.with_extension(""))?;
        }
        None => fs::remove_file(path)?,
    }
    Ok(mended)
}

fn read_at_most(file: &File, octets: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < octets.len() {
        match file.read_at(&mut octets[read..], at + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Finishes every file that an earlier process has left unfinished.
pub(super) fn adopt(folder: &Path) -> io::Result<Vec<Left>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some((id, format)) = parse(&path) else { continue };
        let Ok((written, mended)) = finish(&path, format) else { continue };
        let (size, duration, rate, channels) = mended
            .map(|mended| (mended.len, mended.duration, mended.rate, mended.channels))
            .unwrap_or_default();
        left.push(Left { id, format, duration, size, rate, channels, written });
    }
    left.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(left)
}

fn finish(path: &Path, format: Format) -> io::Result<(SystemTime, Option<Mended>)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let written = file.metadata()?.modified()?;
    Ok((written, mend(&file, path, format)?))
}

/// What an unfinished file is of, by its name.
fn parse(path: &Path) -> Option<(String, Format)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".part")?;
    [Format::Wav, Format::Opus].into_iter().find_map(|format| {
        let id = name.strip_suffix(extension(format))?.strip_suffix('.')?;
        Some((id.to_owned(), format))
    })
}

impl Recorders {
    /// Removes the file of a finished recording; that it is gone already is no error.
    pub fn remove(folder: &Path, id: &str, format: Format) -> io::Result<()> {
        match fs::remove_file(Self::path(folder, id, format)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

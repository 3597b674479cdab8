//! Files that the configuration names: certificates, keys, tokens, passwords.
//!
//! They are swapped by others, often: cert-manager renews, the kubelet turns a symbolic link. As with the configuration
//! itself ([`super::watch`] says why) it is the contents that are compared, through the path, and a change counts once
//! two looks found the same: a certificate and its key are two files, and between the two writes they do not fit.
//!
//! What was read is kept, so that what is compared is what is in use. Nothing here is ever shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::watch::Seen;

/// Largest file that is read, in bytes: a bundle of several hundred certificates fits.
const MAX_BYTES: u64 = 1 << 20;

/// What a file holds, or why that is not known.
type Found = Result<String, String>;

/// Files that were read, with what they held.
#[derive(Clone, Default)]
pub struct Files {
    held: BTreeMap<PathBuf, Found>,
    fresh: Option<BTreeMap<PathBuf, Found>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.held.keys()).finish()
    }
}

impl Files {
    /// The text of a file. Asked for twice it is read once: all that is made of these files is made of the same state.
    ///
    /// # Errors
    /// Why there is none, with the path.
    pub fn text(&mut self, path: &Path) -> Result<&str, String> {
        let found = self.held.entry(path.to_owned()).or_insert_with(|| read(path).unwrap_or_else(Err));
        found.as_deref().map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the same was read there.
    pub fn hold_the_same(&self, other: &Self) -> bool {
        self.held == other.held
    }

    /// Looks whether they hold something else by now.
    ///
    /// # Errors
    /// Why this machine has no means to look.
    pub fn look(&mut self) -> Result<Seen, String> {
        let mut now = BTreeMap::new();
        for path in self.held.keys() {
            now.insert(path.clone(), read(path)?);
        }
        Ok(if now == self.held {
            self.fresh = None;
            Seen::Same
        } else if self.fresh.as_ref() == Some(&now) {
            Seen::Changed
        } else {
            self.fresh = Some(now);
            Seen::Unsettled
        })
    }
}

/// What the file holds; or why this machine has no means to look, which says nothing of the file.
fn read(path: &Path) -> Result<Found, String> {
    let failed = |error: io::Error| {
        let what = format!("cannot be read: {error}");
        let lacking = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS].map(Some);
        if lacking.contains(&error.raw_os_error()) { Err(what) } else { Ok(Err(what)) }
    };
    // Opening a pipe waits for somebody to write to it.
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => return Ok(Err("is no plain file".into())),
        Ok(_) => {}
        Err(error) => return failed(error),
    }
    let mut bytes = Vec::new();
    if let Err(error) = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)) {
        return failed(error);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err(format!("is larger than {MAX_BYTES} bytes")));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "is not text".into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_cannot_be_read_says_why_and_what_it_holds_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("token");
        fs::write(&secret, "correct horse").unwrap();
        let mut files = Files::default();
        assert_eq!(files.text(&secret), Ok("correct horse"));
        assert!(
            files
                .text(&directory.path().join("none"))
                .unwrap_err()
                .ends_with("/none: cannot be read: No such file or directory (os error 2)")
        );
        assert!(files.text(directory.path()).unwrap_err().ends_with(": is no plain file"));
        fs::write(directory.path().join("der"), [0x30, 0x82, 0xff]).unwrap();
        assert!(files.text(&directory.path().join("der")).unwrap_err().ends_with("/der: is not text"));
        fs::write(directory.path().join("large"), vec![b'x'; MAX_BYTES as usize + 1]).unwrap();
        assert!(files.text(&directory.path().join("large")).unwrap_err().contains("larger than"));
        assert!(!format!("{files:?}").contains("horse"));
    }

    #[test]
    fn the_link_that_the_kubelet_swaps_is_a_change_of_all_files_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tls.crt"), format!("certificate {version}")).unwrap();
            fs::write(at(version).join("tls.key"), format!("key {version}")).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        let read = || {
            let mut files = Files::default();
            let texts = ["tls.crt", "tls.key"].map(|name| files.text(&at("..data").join(name)).unwrap().to_owned());
            (files, texts)
        };
        let (mut files, _) = read();
        assert_eq!(files.look(), Ok(Seen::Same));
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!([files.look(), files.look()], [Ok(Seen::Unsettled), Ok(Seen::Changed)]);
        let (mut files, texts) = read();
        assert_eq!(texts, ["certificate ..2", "key ..2"]);
        assert_eq!(files.look(), Ok(Seen::Same));
        fs::remove_dir_all(at("..2")).unwrap();
        assert_eq!([files.look(), files.look()], [Ok(Seen::Unsettled), Ok(Seen::Changed)], "gone is a change too");
    }

    #[test]
    fn a_change_that_goes_back_was_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "one").unwrap();
        let mut files = Files::default();
        files.text(file.path()).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(files.look(), Ok(Seen::Unsettled));
        fs::write(&file, "one").unwrap();
        assert_eq!([files.look(), files.look()], [Ok(Seen::Same), Ok(Seen::Same)]);
    }
}

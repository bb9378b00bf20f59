use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::{BUSY, Stacks};
use crate::admission::timer::Timer;
use crate::ground::error::InvalidConfig;
use crate::ground::time;
use crate::stack::config::Config;

/// The interval between two reads of a followed file.
const EVERY: Duration = Duration::from_secs(1);

type Read = dyn Fn(&str) -> Result<Config, InvalidConfig> + Send + Sync;

/// A file with the settings of a process, and the function that parses its text. See [`Stacks`].
#[derive(Clone)]
pub struct SettingsFile {
    path: PathBuf,
    read: Arc<Read>,
}

impl SettingsFile {
    /// Names the file at `path`. `read` parses its text: TOML, YAML, JSON or any other format.
    pub fn new(
        path: impl AsRef<Path>,
        read: impl Fn(&str) -> Result<Config, InvalidConfig> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.as_ref().to_owned(), read: Arc::new(read) }
    }

    /// Reads the settings now. Blocks for as long as the filesystem takes.
    ///
    /// # Errors
    /// If the file cannot be read, or if `read` returns an error.
    pub fn load(&self) -> Result<Config, InvalidConfig> {
        self.settings(&self.content())
    }

    fn content(&self) -> Content {
        std::fs::read_to_string(&self.path).map_err(|error| format!("cannot read {}: {error}", self.path.display()))
    }

    fn settings(&self, content: &Content) -> Result<Config, InvalidConfig> {
        match content {
            Ok(text) => (self.read)(text),
            Err(why) => Err(InvalidConfig::unreadable(why)),
        }
    }
}

impl SettingsFile {
    /// As [`settings`](Self::settings), but a panic of `read` is a fault: it must not end the task that follows the file.
    fn settings_or_panic(&self, content: &Content) -> Result<Config, InvalidConfig> {
        catch_unwind(AssertUnwindSafe(|| self.settings(content)))
            .unwrap_or_else(|_| Err(InvalidConfig::unreadable("the function that reads the file has panicked")))
    }
}

impl fmt::Debug for SettingsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The text of a file, or why there is none.
type Content = Result<String, String>;

/// Keeps a file followed until it is dropped. See [`Stacks::follow`].
#[derive(Debug)]
#[must_use = "the file is followed until this is dropped"]
pub struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stacks {
    /// Reloads whenever `file` has changed, until the returned value is dropped.
    ///
    /// The file is read once a second. It may be replaced by rename, written in place, or be behind a symbolic link, on any
    /// filesystem. New content counts once two readings in a row agree, so a file that is being written is not applied. An empty
    /// or missing file is rejected, and shown as rejected until it is repaired.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn follow(&self, file: SettingsFile) -> Following {
        Following(tokio::spawn(watch(self.clone(), file)).abort_handle())
    }
}

async fn watch(stacks: Stacks, file: SettingsFile) {
    let (mut timer, mut settled, mut last) = (Timer::new(), Settled::default(), None);
    loop {
        let reading = file.clone();
        // A slow filesystem must not block the calls of this runtime.
        let Ok(content) = tokio::task::spawn_blocking(move || reading.content()).await else { return };
        if let Some(content) = settled.look(content) {
            let settings = file.settings_or_panic(content);
            // The stacks were made from the first content, unless the file has changed since.
            if last.is_some() || settings.as_ref().ok() != Some(&stacks.config()) {
                let result = stacks.reload(settings);
                if result.is_err_and(|invalid| invalid.faults().iter().any(|fault| fault.problem() == BUSY)) {
                    settled.try_again();
                }
            }
            last = Some(());
        }
        let next = time::now() + EVERY;
        poll_fn(|cx| timer.poll_until(cx, next)).await;
    }
}

/// The content of a file once two readings in a row agree: the file is not being written.
#[derive(Debug, Default)]
struct Settled {
    seen: Option<Content>,
    is_handled: bool,
}

impl Settled {
    /// Takes a reading, and returns it once, when it equals the reading before.
    fn look(&mut self, content: Content) -> Option<&Content> {
        if self.seen.as_ref() != Some(&content) {
            (self.seen, self.is_handled) = (Some(content), false);
            return None;
        }
        if std::mem::replace(&mut self.is_handled, true) { None } else { self.seen.as_ref() }
    }

    /// Makes [`look`](Self::look) return the same content again at the next reading.
    fn try_again(&mut self) {
        self.is_handled = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_once_after_two_equal_readings() {
        let mut settled = Settled::default();
        let text = |text: &str| Content::Ok(text.to_owned());
        let looks = [
            (text("a"), false),
            (text("a"), true),
            (text("a"), false),
            (text(""), false),
            (text("b, half"), false),
            (text("b, whole"), false),
            (text("b, whole"), true),
            (Err("gone".to_owned()), false),
            (text("b, whole"), false),
            (text("b, whole"), true),
        ];
        for (n, (content, counts)) in looks.into_iter().enumerate() {
            assert_eq!(settled.look(content.clone()), counts.then_some(&content), "look {n}");
        }
    }
}

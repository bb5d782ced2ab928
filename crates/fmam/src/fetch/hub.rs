//! Files of the Hugging Face hub: their addresses, and their copies that other programs keep.

use std::path::PathBuf;

use hf_hub::{Cache, Repo, RepoType};

const HUB: &str = "https://huggingface.co";

/// A file of a model on the hub, at one commit.
#[derive(Debug, PartialEq)]
pub(super) struct HubFile<'a> {
    model: &'a str,
    commit: &'a str,
    file: &'a str,
}

impl<'a> HubFile<'a> {
    /// The file at `url`, where that is the hub's
    /// `https://huggingface.co/OWNER/NAME/resolve/COMMIT/FILE`.
    pub(super) fn at(url: &'a str) -> Option<Self> {
        let (model, rest) = url.strip_prefix(HUB)?.strip_prefix('/')?.split_once("/resolve/")?;
        let (commit, file) = rest.split_once('/')?;
        Some(Self { model, commit, file })
    }

    /// The address of the file at `endpoint`, the value of `HF_ENDPOINT`, or at the hub.
    pub(super) fn url(&self, endpoint: Option<&str>) -> String {
        let host = endpoint.map_or(HUB, |endpoint| endpoint.trim_end_matches('/'));
        format!("{host}/{}/resolve/{}/{}", self.model, self.commit, self.file)
    }

    /// The copy in the folder that the hub's own programs share, below `HF_HOME` or
    /// `~/.cache/huggingface`.
    pub(super) fn shared_copy(&self) -> Option<PathBuf> {
        // hf-hub takes it for granted that there is one of the two.
        if std::env::var_os("HF_HOME").is_none() && std::env::home_dir().is_none() {
            return None;
        }
        let repo = Repo::with_revision(self.model.to_owned(), RepoType::Model, self.commit.to_owned());
        Some(Cache::from_env().repo(repo).pointer_path(self.commit).join(self.file))
            .filter(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_hub_is_told_by_its_address() {
        let url = "https://huggingface.co/facebook/dinov2-small/resolve/ed25/sub/model.safetensors";
        let file = HubFile::at(url).unwrap();
        assert_eq!(
            file,
            HubFile { model: "facebook/dinov2-small", commit: "ed25", file: "sub/model.safetensors" }
        );
        assert_eq!(file.url(None), url);
        assert_eq!(
            file.url(Some("http://mirror:8080/")),
            "http://mirror:8080/facebook/dinov2-small/resolve/ed25/sub/model.safetensors"
        );
        for other in ["https://example.org/a/b/resolve/c/d", "https://huggingface.co/a/b/tree/c", ""] {
            assert_eq!(HubFile::at(other), None, "{other}");
        }
    }
}
